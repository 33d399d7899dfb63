"""Optimisers as pairs of pure functions, init and update, over one tree of arrays.

    state = init(parameters)
    parameters, state = update(parameters, gradients, state, rate)

Each update returns new parameters and a new state; the old ones are left as they were, so that a bad step can be
undone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamrnn.core.backend import Array, Parameters, array_module


@dataclass(frozen=True, slots=True)
class Optimiser:
    """The two functions of one way to descend."""

    init: Callable[[Parameters], Any]
    update: Callable[..., tuple[Parameters, Any]]


def sgd_init(parameters: Parameters) -> None:
    """Nothing: a step depends on its gradient alone."""


def sgd_update(parameters: Parameters, gradients: Parameters, state: None, rate: float) -> tuple[Parameters, None]:
    """One step of gradient descent (Robbins and Monro 1951): θ' = θ - rate · g."""
    return {name: parameters[name] - rate * g for name, g in gradients.items()}, state


def momentum_init(parameters: Parameters) -> Parameters:
    """A velocity of zero for every parameter."""
    return _zeros(parameters)


def momentum_update(
    parameters: Parameters, gradients: Parameters, velocity: Parameters, rate: float, momentum: float = 0.9
) -> tuple[Parameters, Parameters]:
    """One step with momentum (Polyak 1964): v' = μ v + g,   θ' = θ - rate · v'."""
    velocity = {name: momentum * velocity[name] + g for name, g in gradients.items()}
    return {name: parameters[name] - rate * v for name, v in velocity.items()}, velocity


def rmsprop_init(parameters: Parameters) -> Parameters:
    """A mean square of zero for every parameter."""
    return _zeros(parameters)


def rmsprop_update(
    parameters: Parameters,
    gradients: Parameters,
    square: Parameters,
    rate: float,
    decay: float = 0.99,
    epsilon: float = 1e-8,
) -> tuple[Parameters, Parameters]:
    """One step of RMSprop (Tieleman and Hinton 2012): s' = α s + (1 - α) g²,   θ' = θ - rate · g / (sqrt(s') + ε)."""
    square = {name: decay * square[name] + (1.0 - decay) * g * g for name, g in gradients.items()}
    updated = {
        name: parameters[name] - rate * g / (array_module(g).sqrt(square[name]) + epsilon)
        for name, g in gradients.items()
    }
    return updated, square


@dataclass(slots=True)
class AdamState:
    """First and second moments of the gradient, and the number of updates made."""

    mean: Parameters
    square: Parameters
    count: int = 0


def adam_init(parameters: Parameters) -> AdamState:
    """Moments of zero for every parameter."""
    return AdamState(_zeros(parameters), _zeros(parameters))


def adam_update(
    parameters: Parameters,
    gradients: Parameters,
    state: AdamState,
    rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Parameters, AdamState]:
    """One step of Adam (Kingma and Ba 2015).

    m = β1 m + (1 - β1) g,   v = β2 v + (1 - β2) g²
    θ' = θ - rate · (m / (1 - β1ⁿ)) / (sqrt(v / (1 - β2ⁿ)) + ε)
    """
    n = state.count + 1
    updated, mean, square = {}, {}, {}
    for name, g in gradients.items():
        xp = array_module(g)
        m = mean[name] = beta1 * state.mean[name] + (1.0 - beta1) * g
        v = square[name] = beta2 * state.square[name] + (1.0 - beta2) * g * g
        step = xp.sqrt(v / (1.0 - beta2**n))
        step += epsilon
        updated[name] = parameters[name] - (rate / (1.0 - beta1**n)) * m / step
    return updated, AdamState(mean, square, n)


def adamw_update(
    parameters: Parameters, gradients: Parameters, state: AdamState, rate: float, decay: float = 0.01
) -> tuple[Parameters, AdamState]:
    """One step of Adam on weights that decay by themselves (Loshchilov and Hutter 2019).

    θ' = (1 - rate · λ) θ - Adam's step
    """
    decayed = {name: (1.0 - rate * decay) * parameters[name] for name in gradients}
    return adam_update(decayed, gradients, state, rate)


OPTIMISERS = {
    "sgd": Optimiser(sgd_init, sgd_update),
    "momentum": Optimiser(momentum_init, momentum_update),
    "rmsprop": Optimiser(rmsprop_init, rmsprop_update),
    "adam": Optimiser(adam_init, adam_update),
    "adamw": Optimiser(adam_init, adamw_update),
}


def global_norm(gradients: Parameters) -> float:
    """The Euclidean norm of all gradients taken as one vector."""
    xp = array_module(next(iter(gradients.values())))
    return float(xp.sqrt(xp.stack([(g * g).sum() for g in gradients.values()]).sum(dtype="float64")))


def clip_by_global_norm(gradients: Parameters, limit: float) -> tuple[Parameters, float]:
    """Scale all gradients together so that their global norm is at most limit (Pascanu et al. 2013).

    Returns the gradients and the norm they had before.
    """
    norm = global_norm(gradients)
    if not norm > limit:
        return gradients, norm
    factor = limit / norm
    return {name: _scaled(g, factor) for name, g in gradients.items()}, norm


def _zeros(parameters: Parameters) -> Parameters:
    return {name: array_module(value).zeros_like(value) for name, value in parameters.items()}


def _scaled(array: Array, factor: float) -> Array:
    scaled: Array = array * array.dtype.type(factor)
    return scaled
