"""Optimisers as pairs of pure functions, init and update, over one tree of arrays."""

from dataclasses import dataclass

from streamrnn.core.backend import Array, Parameters, array_module


@dataclass(slots=True)
class AdamState:
    """First and second moments of the gradient, and the number of updates made."""

    mean: Parameters
    square: Parameters
    count: int = 0


def adam_init(parameters: Parameters) -> AdamState:
    """Moments of zero for every parameter."""
    return AdamState(
        {k: array_module(v).zeros_like(v) for k, v in parameters.items()},
        {k: array_module(v).zeros_like(v) for k, v in parameters.items()},
    )


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

    Returns new parameters and state; the old ones are left as they were, so that a bad step can be undone.
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


def global_norm(gradients: Parameters) -> float:
    """The Euclidean norm of all gradients taken as one vector."""
    return float(sum(float((g * g).sum()) for g in gradients.values()) ** 0.5)


def clip_by_global_norm(gradients: Parameters, limit: float) -> tuple[Parameters, float]:
    """Scale all gradients together so that their global norm is at most limit (Pascanu et al. 2013).

    Returns the gradients and the norm they had before.
    """
    norm = global_norm(gradients)
    if not norm > limit:
        return gradients, norm
    factor = limit / norm
    return {name: _scaled(g, factor) for name, g in gradients.items()}, norm


def _scaled(array: Array, factor: float) -> Array:
    scaled: Array = array * array.dtype.type(factor)
    return scaled
