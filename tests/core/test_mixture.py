"""The mixture of experts against its equations in plain floats, and what it promises."""

from dataclasses import fields

import numpy as np
import pytest

from streamrnn.core import mixture
from streamrnn.core.backend import Array
from tests.core.slow_mixture import SlowMixture

K = 4
G = len(mixture.MEMORIES)


def fresh(B: int, P: int, dtype: str = "float32") -> mixture.Regrets:
    shapes = ((B, P, G, K), (B, P, G, K), (B, P, 2), (B, P, 2), (B, P))
    return mixture.Regrets(*(np.zeros(shape, dtype) for shape in shapes))


def mix(experts: Array, regrets: mixture.Regrets, prior: Array | None = None) -> tuple[Array, Array]:
    """The mixture of a series that no other has anything to tell."""
    prior = np.array(mixture.priors(K), "float32") if prior is None else prior
    B, P, _ = experts.shape
    return mixture.mix(experts, regrets, prior, np.zeros((P, G, K), "float32"), np.zeros((B, P), "int32"))


@pytest.mark.parametrize("seed", range(4))
def test_the_mixture_is_its_equations_a_float_at_a_time(seed: int) -> None:
    random = np.random.default_rng(seed)
    B, P, T = 3, 2, 400
    prior, pooled = np.array(mixture.priors(K)), random.normal(size=(P, G, K))
    slow = [[SlowMixture(prior.tolist(), pooled[p].tolist()) for p in range(P)] for _ in range(B)]
    regrets, counted = fresh(B, P, "float64"), np.zeros((B, P), "int32")
    skill = np.array([1.0, 0.3, 0.6, 3.0])
    for t in range(T):
        label = random.standard_t(3, (B, P)) * (10.0 if t == 200 else 1.0)
        experts = label[..., None] + skill * random.normal(size=(B, P, K))
        experts[..., 0] = 0.0
        valid = random.random((B, P)) < 0.9
        mixed, published = mixture.mix(experts, regrets, prior, pooled, counted)
        for b in range(B):
            for p in range(P):
                slow_mixed, slow_published = slow[b][p].mix(experts[b, p].tolist())
                np.testing.assert_allclose(mixed[b, p], slow_mixed, rtol=1e-9, atol=1e-9)
                assert published[b, p] == pytest.approx(slow_published, rel=1e-9, abs=1e-9)
                if valid[b, p]:
                    slow[b][p].learn(experts[b, p].tolist(), slow_mixed, slow_published, float(label[b, p]))
        mixture.learn(experts, mixed, published, label, valid, counted, regrets)
        counted += valid


def test_the_regrets_returned_are_those_that_were_added_and_none_where_no_label_came() -> None:
    random = np.random.default_rng(5)
    regrets = fresh(2, 1)
    experts = random.normal(size=(2, 1, K)).astype("float32")
    mixed, published = mix(experts, regrets, np.array(mixture.priors(K), "float32") + np.float32(3))
    label, valid = np.ones((2, 1), "float32"), np.array([[True], [False]])
    made = mixture.learn(experts, mixed, published, label, valid, np.zeros((2, 1), "int32"), regrets)
    np.testing.assert_allclose(made, regrets.total, rtol=1e-6)
    assert made[0].any()
    assert not made[1].any()


def test_a_label_that_is_not_valid_changes_nothing() -> None:
    random = np.random.default_rng(6)
    regrets = mixture.Regrets(*(random.random(getattr(fresh(1, 2), f.name).shape) for f in fields(mixture.Regrets)))
    before = {f.name: getattr(regrets, f.name).copy() for f in fields(regrets)}
    experts = random.normal(size=(1, 2, K))
    mixed, published = mix(experts, regrets)
    none = np.zeros((1, 2), bool)
    mixture.learn(experts, mixed, published, np.full((1, 2), 9.0), none, np.ones((1, 2), "int32"), regrets)
    for name, kept in before.items():
        np.testing.assert_array_equal(getattr(regrets, name), kept)


def test_an_expert_that_is_always_best_ends_with_nearly_all_the_weight() -> None:
    random = np.random.default_rng(7)
    regrets, counted = fresh(1, 1), np.zeros((1, 1), "int32")
    for t in range(3000):
        label = random.normal(size=(1, 1)).astype("float32")
        experts = (label[..., None] + [0, 0.1, 1.0, 2.0] * random.normal(size=(1, 1, K))).astype("float32")
        experts[..., 0] = 0.0
        mixed, published = mix(experts, regrets)
        mixture.learn(experts, mixed, published, label, np.ones((1, 1), bool), counted + t, regrets)
    alone = np.zeros((1, 1, K), "float32")
    alone[..., 1] = 1.0  # what is published is then the weight of the best
    assert mix(alone, regrets)[1][0, 0] > 0.9


def test_until_labels_arrive_persistence_is_forecast() -> None:
    experts = np.random.default_rng(8).normal(size=(2, 3, K)).astype("float32")
    experts[..., 0] = 0.0
    mixed, published = mix(experts, fresh(2, 3))
    assert not mixed.any()
    assert not published.any()


def test_where_no_expert_has_any_weight_persistence_is_forecast() -> None:
    regrets = fresh(1, 1)
    regrets.total -= 100.0
    regrets.square += 1.0
    experts = np.full((1, 1, K), 7.0, "float32")
    mixed, published = mix(experts, regrets)
    assert not mixed.any()
    assert not published.any()


def test_where_the_last_pass_trusts_nobody_persistence_is_forecast() -> None:
    regrets = fresh(1, 1)
    regrets.total += 1.0
    regrets.square += 1.0
    regrets.last_total -= 100.0
    regrets.last_square += 1.0
    mixed, published = mix(np.full((1, 1, K), 7.0, "float32"), regrets)
    assert mixed.any()
    assert not published.any()


def test_what_other_series_say_of_an_expert_is_bounded() -> None:
    total, square = np.array([1e9, -1e9, 0.0, 3.0]), np.array([1.0, 1.0, 0.0, 4.0])
    np.testing.assert_allclose(mixture.pooled_advantage(total, square), [4.0, -4.0, 0.0, 1.5], rtol=1e-6)


def test_a_regret_within_rounding_of_zero_gives_no_expert_weight() -> None:
    u_of_one = np.array([mixture.PRIOR_PERSISTENCE, 0.0, 0.0, 0.0], "float32")
    experts = np.array([[[0.0, 1.0, 1.0, 1.0]]], "float32")
    made = []
    for noise in (0.0, 1e-7):  # what float32 makes of weights that should be 0
        regrets = fresh(1, 1)
        regrets.total += np.float32(noise)
        regrets.square += np.float32(noise**2)
        made.append(mix(experts, regrets, u_of_one)[1][0, 0])
    assert made[1] == pytest.approx(made[0], abs=1e-3)


def test_one_wild_label_moves_the_running_error_by_no_more_than_a_shock_and_a_frozen_series_thaws() -> None:
    error = np.array([[4.0, 0.0]])
    counted = np.full((1, 2), 1000)
    np.testing.assert_allclose(mixture.shock(error, counted), [[40.0, 2.0]])
    assert np.isinf(mixture.shock(error, counted * 0)).all()
