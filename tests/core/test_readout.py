"""Recursive least squares against the normal equations solved at once, in float64."""

import numpy as np
import pytest

from streamrnn.core import readout
from streamrnn.core.backend import Array

F = 6


def fresh(rows: int, horizons: int) -> tuple[Array, Array]:
    """The curvature (B, F, F) and the weights (B, P, F) of newborn series."""
    curvature = np.tile(readout.PRIOR * np.eye(F, dtype="float32"), (rows, 1, 1))
    return curvature, np.zeros((rows, horizons, F), "float32")


def walked(features: Array, targets: Array, horizons: tuple[int, ...], learns: Array) -> tuple[Array, Array]:
    """The curvature and the weights after all steps.

    features (T, B, F); targets (T, B, P), the label of horizon h for the origin t, which arrives at step t + h;
    learns (T, B).
    """
    T, B, _ = features.shape
    curvature, weights = fresh(B, len(horizons))
    gains = np.zeros_like(features)
    for t in range(T):
        origins = t - np.array(horizons)
        arrived = np.broadcast_to(origins >= 0, (B, len(horizons))) & learns[origins].T
        at = (np.arange(B)[:, None], origins[None, :])
        by_row = features.transpose(1, 0, 2)[at], gains.transpose(1, 0, 2)[at]
        labels = np.stack([targets[origin, :, i] for i, origin in enumerate(origins.tolist())], axis=1)
        readout.learn(weights, *by_row, labels, arrived)
        gains[t] = readout.update_curvature(curvature, features[t], learns[t], readout.FORGETTING)
    return curvature, weights


def solved(features: Array, targets: Array, last: int) -> Array:
    """The weights that minimise λ^last |w|²/PRIOR + the sum over origins t < last of λ^(last-1-t) (y - wᵀφ)²."""
    phi, y = features[:last].astype(float), targets[:last].astype(float)
    forgetting = readout.FORGETTING ** np.arange(last - 1, -1, -1)
    normal = (phi * forgetting[:, None]).T @ phi + readout.FORGETTING**last / readout.PRIOR * np.eye(F)
    made: Array = np.linalg.solve(normal, (phi * forgetting[:, None]).T @ y)
    return made


def excited(seed: int, T: int, B: int, P: int) -> tuple[Array, Array]:
    """Features that leave none at rest, correlated and of unlike sizes, and noisy targets that drift."""
    random = np.random.default_rng(seed)
    mixing = np.eye(F) + 0.3 * random.standard_normal((F, F))
    features = (random.standard_normal((T, B, F)) @ mixing * np.geomspace(0.5, 2.0, F)).astype("float32")
    truth = random.standard_normal((B, P, F)) + np.linspace(0, 1, T)[:, None, None, None]
    targets = np.einsum("tbpf,tbf->tbp", truth, features) + random.standard_normal((T, B, P))
    return features, targets.astype("float32")


@pytest.mark.parametrize("horizon", [1, 3])
def test_the_readout_solves_the_forgetful_regularised_normal_equations(horizon: int) -> None:
    T, B = 1500, 3
    horizons = (1, 3)
    features, targets = excited(horizon, T, B, len(horizons))
    _, weights = walked(features, targets, horizons, np.ones((T, B), bool))
    p = horizons.index(horizon)
    for b in range(B):
        expected = solved(features[:, b], targets[:, b, p], T - horizon)
        np.testing.assert_allclose(weights[b, p], expected, atol=3e-4 * np.abs(expected).max())


def test_the_curvature_is_the_inverse_of_the_normal_matrix_and_stays_symmetric() -> None:
    T = 1500
    features, targets = excited(5, T, 1, 1)
    curvature, _ = walked(features, targets, (1,), np.ones((T, 1), bool))
    phi = features[:, 0].astype(float)
    forgetting = readout.FORGETTING ** np.arange(T, 0, -1)
    normal = (phi * forgetting[:, None]).T @ phi + readout.FORGETTING**T / readout.PRIOR * np.eye(F)
    np.testing.assert_allclose(curvature[0] @ normal, np.eye(F), atol=2e-3)
    np.testing.assert_array_equal(curvature[0], curvature[0].T)


def test_a_feature_that_nothing_excites_keeps_its_uncertainty_bounded() -> None:
    random = np.random.default_rng(7)
    curvature, _ = fresh(2, 1)
    for _ in range(20_000):  # without the guard, P_ii of feature 0 would be .1 / .9998²⁰⁰⁰⁰ = 5.5
        features = random.standard_normal((2, F)).astype("float32")
        features[:, 0] = 0.0
        readout.update_curvature(curvature, features, np.ones(2, bool), readout.FORGETTING)
    diagonal = np.einsum("bii->bi", curvature)
    assert (diagonal <= 1.05 * readout.PRIOR).all()
    assert (diagonal[:, 0] >= 0.95 * readout.PRIOR).all()
    assert (np.linalg.eigvalsh(curvature.astype(float)) > 0).all()


def test_the_guard_bounds_what_has_wound_up_and_keeps_every_correlation() -> None:
    root = np.random.default_rng(9).standard_normal((2, F, F))
    curvature = 0.01 * (root @ root.transpose(0, 2, 1)).astype("float32")
    curvature[1] *= 0.01  # nothing has wound up here
    before = curvature.copy()
    readout.guard_curvature(curvature)
    np.testing.assert_array_equal(curvature[1], before[1])
    bounded = np.minimum(np.diag(before[0]), readout.PRIOR)
    assert (bounded < np.diag(before[0])).sum() >= 1
    expected = before[0] * np.sqrt(np.outer(bounded, bounded) / np.outer(np.diag(before[0]), np.diag(before[0])))
    np.testing.assert_allclose(curvature[0], expected, rtol=1e-5)


def test_a_row_that_does_not_learn_stays_as_it_was_beside_one_that_does() -> None:
    features, _ = excited(11, 300, 2, 1)
    curvature, _ = fresh(2, 1)
    for t in range(150):
        readout.update_curvature(curvature, features[t], np.ones(2, bool), readout.FORGETTING)
    before = curvature.copy()
    gains = readout.update_curvature(curvature, features[150], np.array([True, False]), readout.FORGETTING)
    np.testing.assert_array_equal(curvature[1], before[1])
    assert not gains[1].any()
    assert gains[0].any()
    assert (curvature[0] != before[0]).any()


def test_a_label_that_is_not_valid_changes_no_weight() -> None:
    random = np.random.default_rng(12)
    features, gains = random.standard_normal((2, 2, 2, F)).astype("float32")
    weights = random.standard_normal((2, 2, F)).astype("float32")
    before = weights.copy()
    readout.learn(weights, features, gains, np.full((2, 2), 5.0, "float32"), np.array([[True, False], [False, True]]))
    changed = (weights != before).any(2)
    assert changed.tolist() == [[True, False], [False, True]]


def test_a_readout_predicts_the_product_of_weights_and_features() -> None:
    random = np.random.default_rng(13)
    weights, features = random.standard_normal((2, 3, F)), random.standard_normal((2, F))
    for b in range(2):
        for p in range(3):
            expected = sum(float(w) * float(x) for w, x in zip(weights[b, p], features[b], strict=True))
            assert readout.predict(weights, features)[b, p] == pytest.approx(expected)
