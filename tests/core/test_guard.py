"""The guard over weight updates."""

import numpy as np
import pytest

from streamrnn.core.guard import CAREFUL, FIRST, LARGEST_WEIGHT, LEAST, LOSS_LIMIT, Guard

SOUND = {"W": np.ones((3, 2), np.float32)}


def experienced(loss: float = 1.0) -> Guard:
    guard = Guard()
    for _ in range(FIRST):
        assert guard.stands(loss, 1.0, SOUND)
    return guard


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 2 * LOSS_LIMIT])
def test_an_update_with_such_a_loss_is_undone(loss: float) -> None:
    assert not experienced().stands(loss, 1.0, SOUND)


@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_an_update_with_such_a_gradient_is_undone(norm: float) -> None:
    assert not experienced().stands(1.0, norm, SOUND)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -2 * LARGEST_WEIGHT])
def test_an_update_with_one_such_weight_is_undone(weight: float) -> None:
    grown = {"W": SOUND["W"].copy(), "b": np.zeros(2, np.float32)}
    grown["W"][1, 1] = weight
    assert not experienced().stands(1.0, 1.0, grown)


def test_learning_backs_off_with_each_undone_update_and_comes_back_with_those_that_stand() -> None:
    guard = experienced()
    for power in (1, 2, 3):
        guard.stands(float("nan"), 1.0, SOUND)
        assert guard.rate == CAREFUL**power
    for _ in range(100):
        guard.stands(1.0, 1.0, SOUND)
    assert guard.rate == 1.0


def test_however_many_updates_are_undone_a_little_is_learnt() -> None:
    guard = experienced()
    for _ in range(100):
        guard.stands(float("nan"), 1.0, SOUND)
    assert guard.rate == LEAST


def test_losses_that_have_grown_for_good_are_learnt_from_again() -> None:
    guard = experienced()
    undone = 0
    while not guard.stands(1000 * LOSS_LIMIT, 1.0, SOUND):
        undone += 1
    assert 0 < undone < 100


def test_before_there_is_any_experience_no_loss_is_unusual() -> None:
    guard = Guard()
    assert guard.stands(1.0, 1.0, SOUND) and guard.stands(1e6, 1.0, SOUND)


def test_it_goes_on_from_its_state() -> None:
    guard = experienced(3.0)
    guard.stands(float("nan"), 1.0, SOUND)
    assert Guard.restored(guard.state()) == guard
