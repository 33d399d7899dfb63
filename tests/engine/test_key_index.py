"""The index of keys against a dict, whatever is asked of it."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamrnn.engine import key_index
from streamrnn.engine.key_index import KeyIndex

KEYS = [b"k%d" % i for i in range(60)]


def look_up(index: KeyIndex, keys: list[bytes]) -> list[int]:
    return [int(slot) for slot in index.look_up(keys)]


class IndexBesideDict(RuleBasedStateMachine):
    """Whatever is done to the index is done to a dict of slots too."""

    def __init__(self) -> None:
        super().__init__()
        self.index = KeyIndex()
        self.slots: dict[bytes, int] = {}
        self.resting: set[int] = set()
        self.free: set[int] = set()

    @rule(key=st.sampled_from(KEYS))
    def insert(self, key: bytes) -> None:
        if key in self.slots:
            return
        slot = self.index.insert(key)
        assert slot not in self.slots.values()
        assert slot not in self.resting
        if self.free:
            assert slot == min(self.free)  # also after a restore, which knows only what is free
            self.free.remove(slot)
        else:
            assert slot == len(self.slots) + len(self.resting)
        self.slots[key] = slot

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: bytes) -> None:
        if key in self.slots:
            slot = self.slots.pop(key)
            self.index.remove(slot)
            self.resting.add(slot)

    @rule()
    def release(self) -> None:
        self.index.release()
        self.free |= self.resting
        self.resting.clear()

    @rule()
    def restore(self) -> None:
        """What a snapshot does: the resting slots stay at rest."""
        self.index = KeyIndex.restored(list(self.index.keys), sorted(self.resting))

    @invariant()
    def knows_the_same_keys(self) -> None:
        assert len(self.index) == len(self.slots)
        assert {key: slot for slot, key in enumerate(self.index.keys) if key is not None} == self.slots
        assert look_up(self.index, KEYS) == [self.slots.get(key, -1) for key in KEYS]


IndexBesideDict.TestCase.settings = settings(max_examples=30, stateful_step_count=60, deadline=None)
test_the_index_knows_what_a_dict_would = IndexBesideDict.TestCase


class CollidingIndexBesideDict(IndexBesideDict):
    """The same where nearly all keys collide."""

    def __init__(self) -> None:
        super().__init__()
        vars(key_index)["hash"] = len  # the module's own name for it, found before the builtin

    def teardown(self) -> None:
        vars(key_index).pop("hash", None)


CollidingIndexBesideDict.TestCase.settings = settings(max_examples=15, stateful_step_count=60, deadline=None)
test_the_index_knows_what_a_dict_would_where_hashes_collide = CollidingIndexBesideDict.TestCase


def test_thousands_of_keys_are_found_among_thousands_of_others() -> None:
    keys = [b"key-%d" % i for i in range(5_000)]
    index = KeyIndex()
    slots = {key: index.insert(key) for key in keys}
    assert sorted(slots.values()) == list(range(len(keys)))
    strangers = [b"stranger-%d" % i for i in range(5_000)]
    random = np.random.default_rng(0)
    asked = [(keys + strangers)[i] for i in random.permutation(10_000).tolist()]
    assert look_up(index, asked) == [slots.get(key, -1) for key in asked]


def test_a_key_is_found_whatever_was_deleted_around_it() -> None:
    index = KeyIndex()
    slots: dict[bytes, int] = {}
    for generation in range(60):  # 30,000 short-lived keys: their traces must neither hide a key nor fill the table
        mayflies = [b"mayfly-%d-%d" % (generation, i) for i in range(500)]
        brief = [index.insert(key) for key in mayflies]
        kept = [b"kept-%d-%d" % (generation, i) for i in range(5)]  # some stand behind a mayfly in the table
        slots |= {key: index.insert(key) for key in kept}
        for slot in brief:
            index.remove(slot)
        index.release()
        assert look_up(index, mayflies) == [-1] * 500
        assert look_up(index, list(slots)) == list(slots.values())
    assert len(index.keys) <= 60 * 5 + 500


def test_a_forgotten_key_is_found_again_only_when_it_was_inserted_again() -> None:
    index = KeyIndex()
    first = index.insert(b"a")
    index.remove(first)
    assert look_up(index, [b"a"]) == [-1]
    second = index.insert(b"a")
    assert second != first
    assert look_up(index, [b"a", b"a"]) == [second, second]


@pytest.mark.parametrize("length", [1, 2, 7, 255, 256])
def test_keys_that_differ_in_one_byte_are_different_keys(length: int) -> None:
    index = KeyIndex()
    keys = [b"x" * (length - 1) + bytes([last]) for last in range(128)]
    slots = [index.insert(key) for key in keys]
    assert look_up(index, keys) == slots
    assert look_up(index, [key + b"x" for key in keys]) == [-1] * 128


def test_nothing_is_found_in_an_empty_index_and_nothing_by_an_empty_question() -> None:
    index = KeyIndex()
    assert look_up(index, [b"a"]) == [-1]
    assert look_up(index, []) == []
