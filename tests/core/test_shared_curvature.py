"""Readouts over a curvature that all series share: their equations, and what they come to."""

import numpy as np
import pytest

from streamrnn.core import readout, shared_curvature
from streamrnn.core.backend import Array
from streamrnn.engine.readouts import F, rows_product


def correlated(seed: int, T: int, n: int) -> tuple[Array, Array, Array]:
    """Features (T, n) that are far from independent, noisy labels (T,), and the weights behind them (n,)."""
    random = np.random.default_rng(seed)
    mixing = np.eye(n) + 0.8 * random.normal(size=(n, n)) / np.sqrt(n)
    features = random.normal(size=(T, n)) @ mixing
    features /= np.sqrt((features**2).mean(0))
    truth = random.normal(size=n)
    return features, features @ truth + 0.5 * random.normal(size=T), truth


def learnt(features: Array, labels: Array, shared: bool) -> Array:
    """The weights (n,) after all labels, over the series' own moments or, where not `shared`, over none."""
    T, n = features.shape
    moments, w = np.zeros((n, n)), np.zeros((1, 1, n))
    for t in range(T):
        phi = features[t][None, None]
        moments += np.outer(features[t], features[t]) * shared
        P = shared_curvature.inverse(moments, t + 1.0, t + 1.0) if shared else np.eye(n)
        gains = shared_curvature.gains(phi @ P, phi, 1.0, np.array([[t + 10.0]]))
        readout.learn(w, phi, gains, labels[t].reshape(1, 1), np.ones((1, 1), bool))
    return w[0, 0]


def test_over_its_own_moments_a_readout_approaches_recursive_least_squares() -> None:
    features, labels, _ = correlated(1, 3000, 6)
    off = []
    for T in (300, 1000, 3000):
        phi, y = features[:T], labels[:T]
        solution = np.linalg.solve(phi.T @ phi + np.eye(6) / readout.PRIOR, phi.T @ y)  # of λ = 1
        off.append(np.linalg.norm(learnt(phi, y, True) - solution) / np.linalg.norm(solution))
    assert off[0] > 2 * off[1] > 4 * off[2]
    assert off[2] < 0.05
    without = np.linalg.norm(learnt(features, labels, False) - solution) / np.linalg.norm(solution)
    assert without > 2 * off[2]


def test_the_inverse_is_that_of_the_mean_moments_with_a_ridge_that_falls_with_the_steps() -> None:
    features, _, _ = correlated(1, 500, 5)
    moments = features.T @ features
    for steps in (1.0, 50.0, 1e6):
        P = shared_curvature.inverse(moments, 500.0, steps)
        ridge = 1e-3 + 100 / steps
        np.testing.assert_allclose(P @ (moments / 500 + ridge * np.eye(5)), np.eye(5), atol=1e-9)


def test_before_anything_was_seen_the_inverse_is_a_small_multiple_of_one() -> None:
    np.testing.assert_allclose(shared_curvature.inverse(np.zeros((4, 4)), 0.0, 0.0), np.eye(4) / 100.001)


def test_inverses_of_several_moments_are_those_of_each() -> None:
    moments = np.stack([x.T @ x for x in (correlated(seed, 50, 4)[0] for seed in range(3))])
    together = shared_curvature.inverse(moments, 50.0, 70.0)
    for one, made in zip(moments, together, strict=True):
        np.testing.assert_allclose(made, shared_curvature.inverse(one, 50.0, 70.0), rtol=1e-12)


@pytest.mark.parametrize("rate", [1.0, 4.0])
def test_a_gain_is_its_formula_and_knows_at_most_so_many_steps(rate: float) -> None:
    random = np.random.default_rng(2)
    P = random.normal(size=(5, 5))
    P = P @ P.T
    phi, counted = random.normal(size=(3, 2, 5)), np.array([[10.0, 300.0], [4999.0, 5001.0], [20.0, 1e6]])
    made = shared_curvature.gains(phi @ P, phi, rate, counted)
    for b in range(3):
        for p in range(2):
            x = phi[b, p]
            expected = rate * (P @ x) / (min(counted[b, p], 5000.0) + rate * (x @ P @ x))
            np.testing.assert_allclose(made[b, p], expected, rtol=1e-9)


@pytest.mark.parametrize("n", [F, F + 4, F + 6])  # without a panel, and with those of two and three features
@pytest.mark.parametrize("B", [2, 3, 17, 256, 512])
def test_rows_alone_and_in_company_agree_to_the_last_bits(n: int, B: int) -> None:
    """To the last of them where BLAS has kernels for AVX-512, not on older processors."""
    random = np.random.default_rng(B)
    phi = random.normal(size=(B, n)).astype("float32")
    P = np.asarray(shared_curvature.inverse(phi.T @ phi, B, B), "float32")
    counted = random.integers(10, 9000, B).astype(float)
    together = rows_product(phi, P)
    gains = shared_curvature.gains(together, phi, 4.0, counted)
    for b in {0, 1, B // 2, B - 1}:
        row = slice(b, b + 1)
        alone = rows_product(phi[row], P)
        assert_rounded_alike(alone[0], together[b])
        assert_rounded_alike(shared_curvature.gains(alone, phi[row], 4.0, counted[row])[0], gains[b])


@pytest.mark.parametrize("D", [2, 3])
def test_rows_of_several_features_agree_alone_and_in_company_to_the_last_bits(D: int) -> None:
    random = np.random.default_rng(D)
    phi = random.normal(size=(D, 40, F + 2 * D)).astype("float32")
    P = np.asarray(shared_curvature.inverse(phi.transpose(0, 2, 1) @ phi, 40, 40), "float32")
    together = rows_product(phi, P)
    for b in range(40):
        assert_rounded_alike(rows_product(phi[:, b : b + 1], P)[:, 0], together[:, b])


def assert_rounded_alike(made: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(made, expected, rtol=0, atol=8 * np.finfo("float32").eps * np.abs(expected).max())
