"""Snapshots: whole, small, isolated, and refused with a reason where they are not what they should be."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.core.backend import to_host
from streamrnn.engine import snapshot
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import FORMAT, SnapshotPages, SnapshotWriter, StoredSnapshot, restore, sealed
from streamrnn.errors import SnapshotError
from tests.engine.records_by_hand import Row, fed, wandering

LARGEST_PAGE = 900 * 1024
SMALL = ForecastSettings(hidden=4)


@dataclass
class Store:
    """What a compacted topic keeps: the newest header, and the newest bytes of every page not dropped."""

    header: bytes = b""
    pages: dict[str, bytes] = field(default_factory=dict)

    def save(self, captured: SnapshotPages) -> None:
        self.header = captured.header
        self.pages |= captured.pages
        for key in captured.dropped:
            del self.pages[key]

    def restored(self) -> Forecaster:
        return restore(StoredSnapshot(self.header, dict(self.pages)))[0]


def stored(forecaster: Forecaster) -> Store:
    store = Store()
    store.save(SnapshotWriter(forecaster).capture(7))
    return store


def many(streams: int, value: float = 1.0) -> list[Row]:
    return [(b"stream-%d" % i, value * i) for i in range(streams)]


def some_state() -> Forecaster:
    forecaster = Forecaster(SMALL)
    fed(forecaster, wandering(0, 300, 5))
    return forecaster


def test_a_damaged_page_is_refused_by_its_name() -> None:
    store = stored(some_state())
    for key in ("slot/small_weights/0", "keys/0", "shared/weights.U/0"):
        damaged = bytearray(store.pages[key])
        damaged[len(damaged) // 2] ^= 1
        with pytest.raises(SnapshotError, match=f"page {key} has checksum"):
            restore(StoredSnapshot(store.header, store.pages | {key: bytes(damaged)}))


def test_a_page_cut_short_is_refused_by_its_name() -> None:
    store = stored(some_state())
    with pytest.raises(SnapshotError, match="page slot/levels/0 has checksum"):
        restore(StoredSnapshot(store.header, store.pages | {"slot/levels/0": store.pages["slot/levels/0"][:-8]}))


def test_a_missing_page_is_refused_by_its_name() -> None:
    store = stored(some_state())
    for key in store.pages:
        pages = {name: page for name, page in store.pages.items() if name != key}
        with pytest.raises(SnapshotError, match=f"lacks page {key}"):
            restore(StoredSnapshot(store.header, pages))


@pytest.mark.parametrize("header", [b"", b"\xff\x00", b"{}", b"[]", b"3", b"null", b'{"version": 1}', b'"format"'])
def test_a_header_of_something_else_is_refused_and_shown(header: bytes) -> None:
    with pytest.raises(SnapshotError, match="header is not one of streamrnn's") as caught:
        restore(StoredSnapshot(header, {}))
    assert repr(header) in str(caught.value)


def test_a_header_that_lacks_a_part_is_refused_by_its_name() -> None:
    store = stored(some_state())
    header = json.loads(store.header.partition(b"\n")[0])
    for part in header:
        if part != "format":
            lacking = {name: value for name, value in header.items() if name != part}
            with pytest.raises(SnapshotError, match=f"header lacks {part}"):
                restore(StoredSnapshot(sealed(lacking), store.pages))


@pytest.mark.parametrize(
    ("part", "written", "message"),
    [
        ("format", FORMAT + 1, f"has format {FORMAT + 1}, this version reads format {FORMAT}"),
        ("layout", "0123abcd", "has layout 0123abcd, this version's is"),
        ("slots", 4, "holds 6 stream ids, its header says 4"),
        ("settings", {"features": 1}, "settings differ from this version's in cell"),
    ],
)
def test_another_version_s_snapshot_is_refused_by_what_differs(part: str, written: Any, message: str) -> None:
    store = stored(some_state())
    header = json.loads(store.header.partition(b"\n")[0]) | {part: written}
    with pytest.raises(SnapshotError, match=message):
        restore(StoredSnapshot(sealed(header), store.pages))


def test_only_pages_with_a_touched_stream_are_captured_again() -> None:
    forecaster = Forecaster(SMALL)
    writer = SnapshotWriter(forecaster)
    fed(forecaster, many(3000))
    first = writer.capture(1)
    curvature = {key for key in first.pages if key.startswith("slot/small_curvature/")}
    assert len(curvature) == 4  # 1 KiB a stream
    fed(forecaster, [(b"stream-2900", 1.0)], first=3000)
    second = writer.capture(2)
    assert {key for key in second.pages if key.startswith("slot/small_curvature/")} == {"slot/small_curvature/3"}
    assert {key for key in second.pages if key.startswith("keys/")} == {"keys/1"}
    assert second.nbytes < 0.6 * first.nbytes


def test_a_capture_with_nothing_touched_holds_no_stream() -> None:
    forecaster = some_state()
    writer = SnapshotWriter(forecaster)
    writer.capture(1)
    assert not [key for key in writer.capture(2).pages if not key.startswith("shared/")]


def test_a_page_that_is_no_longer_valid_is_dropped() -> None:
    forecaster = Forecaster(SMALL)
    writer = SnapshotWriter(forecaster)
    rows = wandering(1, 400, 4, forgotten=0.0)
    store, waiting = Store(), set()
    for i, row in enumerate(rows):
        fed(forecaster, [row], first=i)
        captured = writer.capture(i)
        store.save(captured)  # fails where a page is dropped that is not there
        windows = {key for key in store.pages if key.startswith("shared/windows.")}
        assert bool(windows) == bool(forecaster.model.windows.columns())
        waiting.add(bool(windows))
        assert set(store.pages) == set(json.loads(captured.header.partition(b"\n")[0])["pages"])
    assert waiting == {True, False}


def test_no_page_is_larger_than_a_message_may_be() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=300, horizons=(1, 24)))
    fed(forecaster, [(b"%0256d" % i, 1.0) for i in range(2500)])
    pages = SnapshotWriter(forecaster).capture(1).pages
    assert max(map(len, pages.values())) <= LARGEST_PAGE
    assert {"shared/weights.U/1", "keys/1", "slot/small_weights/0"} <= pages.keys()


def test_keys_of_every_length_survive() -> None:
    keys = [b"%0*d" % (length, 7) for length in range(1, 257)]
    keys += ["größe-✓".encode(), b"\x00", b"a\x00b", b'"quoted\\"']
    forecaster = Forecaster(SMALL)
    fed(forecaster, [(key, 1.0) for key in keys])
    index = stored(forecaster).restored().table.index
    assert index.look_up(keys).tolist() == forecaster.table.index.look_up(keys).tolist()
    assert index.keys == forecaster.table.index.keys
    assert len(index) == len(keys)


def test_a_forgotten_stream_is_not_in_the_snapshot() -> None:
    forecaster = Forecaster(SMALL)
    fed(forecaster, [*many(10), (b"stream-4", None)])
    table = stored(forecaster).restored().table
    assert table.index.look_up([b"stream-4"]).tolist() == [-1]
    assert (len(table), int(table.live.sum())) == (9, 9)


def test_a_capture_does_not_change_with_what_runs_on() -> None:
    forecaster = some_state()
    writer = SnapshotWriter(forecaster)
    captured = writer.capture(1)
    header, pages = bytes(captured.header), {key: bytes(bytearray(page)) for key, page in captured.pages.items()}
    fed(forecaster, wandering(2, 300, 5), first=300)
    writer.capture(2)
    assert captured.header == header
    assert captured.pages == pages


def test_a_capture_is_that_of_its_offset_however_late_it_is_checked() -> None:
    forecaster = some_state()
    at_once = stored(forecaster)
    captured, portions = SnapshotWriter(forecaster).begin(7), 0
    while not captured.checked:
        fed(forecaster, wandering(portions, 10, 5), first=300 + 10 * portions)
        captured.check(1)
        portions += 1
    assert portions == len(at_once.pages)
    assert captured.finished().header == at_once.header
    assert captured.finished().pages == at_once.pages


def test_what_a_capture_that_was_given_up_has_copied_is_captured_again() -> None:
    forecaster, store = some_state(), Store()
    writer = SnapshotWriter(forecaster)
    store.save(writer.capture(1))
    fed(forecaster, wandering(2, 100, 5), first=300)
    writer.begin(2)
    store.save(writer.capture(3))
    assert store.pages == SnapshotWriter(forecaster).capture(3).pages


def test_a_restored_state_captures_to_the_same_bytes() -> None:
    forecaster = some_state()
    store = stored(forecaster)
    revived, writer, offset = restore(StoredSnapshot(store.header, store.pages))
    assert offset == 7
    again = writer.capture(offset)
    assert again.header == store.header
    assert not [key for key in again.pages if again.pages[key] != store.pages[key]]
    revived.table.touched[: len(revived.table.index.keys)] = True
    assert writer.capture(offset).pages == store.pages


def test_an_empty_state_is_a_snapshot_too() -> None:
    rows = wandering(3, 100, 3)
    revived = stored(Forecaster(SMALL)).restored()
    np.testing.assert_array_equal(fed(revived, rows), fed(Forecaster(SMALL), rows))


def test_a_second_writer_captures_all_of_a_state_that_another_has_captured() -> None:
    forecaster = some_state()
    first, second = stored(forecaster), stored(forecaster)
    assert second.pages == first.pages
    assert second.header == first.header


def until_a_window_waits(forecaster: Forecaster, rows: list[Row]) -> None:
    """Feed rows until a window waits for its boundary, after some learning."""
    for step, row in enumerate(rows):
        fed(forecaster, [row], first=step)
        if step >= 200 and forecaster.model.windows.columns():
            return
    raise AssertionError("no window waits")


def test_what_a_boundary_teaches_a_stream_that_rested_since_the_last_capture_is_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "PAGE_BYTES", 16)  # so that every embedding has a page of its own
    forecaster, store = Forecaster(SMALL), Store()
    writer = SnapshotWriter(forecaster)
    until_a_window_waits(forecaster, wandering(4, 400, 5, forgotten=0.0))
    store.save(writer.capture(1))
    updates = forecaster.model.updates
    while forecaster.model.updates == updates:  # to the boundary, without a step of any stream that learns there
        fed(forecaster, [(b"newcomer", 1.0)], first=forecaster.step_number)
    store.save(writer.capture(2))
    kept, live = (to_host(each.table.slabs["embedding"][:6]) for each in (store.restored(), forecaster))
    np.testing.assert_array_equal(kept, live)


@given(st.integers(0, 2**32 - 1), st.integers(0, 400), st.lists(st.integers(1, 399), max_size=6))
@settings(max_examples=10, deadline=None)
def test_law_3_replay_is_live_where_streams_are_forgotten_and_come_back(seed: int, at: int, cuts: list[int]) -> None:
    s = ForecastSettings(hidden=8, horizons=(1, 3), window=4)
    rows = wandering(seed, 400, 4, forgotten=0.1)
    live = Forecaster(s)
    fed(live, rows[:at], cuts=cuts)
    revived = stored(live).restored()
    expected = fed(live, rows[at:], first=at)
    made = fed(revived, rows[at:], first=at, cuts=cuts)
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-4)
    for name, value in live.model.parameters.items():
        np.testing.assert_allclose(to_host(revived.model.parameters[name]), to_host(value), rtol=0, atol=1e-5)


def test_law_3_what_a_forgotten_stream_taught_reaches_no_successor_after_a_replay() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4, window=4))
    until_a_window_waits(forecaster, wandering(6, 400, 3, forgotten=0.0, missing=0.0))
    fed(forecaster, [(b"stream-%d" % i, None) for i in range(3)], first=forecaster.step_number)
    newcomers = [b"newcomer-%d" % i for i in range(3)]
    for heir in (forecaster, stored(forecaster).restored()):
        updates = heir.model.updates
        fed(heir, [(key, 1.0) for key in newcomers] * 4, first=heir.step_number)
        assert heir.model.updates > updates  # the window was learnt, and no newcomer has had one of its own yet
        assert not to_host(heir.table.slabs["embedding"])[heir.table.index.look_up(newcomers)].any()
