"""The tails of a few numbers of each series: what their probabilities are worth."""

import numpy as np

from streamrnn.core import tails
from streamrnn.core.backend import Array
from streamrnn.core.tails import Tails


def probabilities(u: Array) -> Array:
    """P (T, B) of the numbers u (T, B), one channel a series."""
    T, B = u.shape
    slabs = Tails(
        np.zeros((B, 1, tails.BINS), "float32"),
        np.zeros((B, 1, tails.PENDING), "uint8"),
        np.tile(tails.newborn(), (B, 1, 1)),
    )
    known, rows = np.ones(B, bool), np.arange(B)
    made = [tails.probabilities(slabs, rows, u[t][None], np.full(B, float(t)), known) for t in range(T)]
    return np.array(made)[:, 0]


def test_a_probability_is_reached_no_more_often_than_it_says_and_in_the_body_as_often() -> None:
    random, T, B = np.random.default_rng(0), 4000, 8
    for u in (np.abs(random.normal(size=(T, B))), np.abs(random.standard_t(3, (T, B)))):
        p = probabilities(u)[500:]
        for level in (0.3, 0.1, 0.03, 0.01, 0.003, 0.001):
            assert (p <= level).mean() < 1.3 * level
        for level in (0.3, 0.1, 0.03):
            assert (p <= level).mean() > 0.7 * level
        assert ((p > 0) & (p <= 1)).all()


def test_a_number_ten_times_beyond_all_that_was_seen_is_most_improbable() -> None:
    u = np.abs(np.random.default_rng(1).normal(size=(3000, 4)))
    u[-1] = 10.0 * u.max()
    p = probabilities(u)
    assert (p[-1] < 1e-5).all()
    assert (p[-1] < p[200:-1].min(0)).all()


def test_a_constant_that_drifts_into_new_territory_stays_ordinary() -> None:
    u = np.geomspace(1.0, 1.5, 6000)[:, None]  # three bins in 6,000 numbers
    p = probabilities(u)[500:]
    assert (p <= 0.01).mean() < 0.02


def test_what_a_series_has_seen_changes_no_other() -> None:
    u = np.abs(np.random.default_rng(2).normal(size=(200, 3)))
    together = probabilities(u)
    for b in range(3):
        np.testing.assert_array_equal(probabilities(u[:, b : b + 1])[:, 0], together[:, b])
