"""What one forecaster passes on to another: all that its streams share, and nothing of any one of them."""

from collections.abc import Mapping

import numpy as np

from streamrnn.engine.forecaster import Forecaster
from streamrnn.errors import SnapshotError

# the network and its optimiser, the experts' standing, the curvature, the season, what newborn streams begin with
PASSED_ON = ("weights.", "mean.", "square.", "updates", "pooled_", "moments", "season", "pooled.")


def learnt(forecaster: Forecaster) -> dict[str, np.ndarray]:
    """The arrays to pass on, by name."""
    return {name: value for name, value in forecaster.state().items() if name.startswith(PASSED_ON)}


def begin_with(forecaster: Forecaster, arrays: Mapping[str, np.ndarray]) -> None:
    """Let a forecaster that has seen nothing begin with what another has learnt. Raises SnapshotError."""
    fresh = forecaster.state()
    for name in learnt(forecaster):
        found = arrays.get(name)
        if found is None or (name != "season" and found.shape != fresh[name].shape):
            told = "nothing" if found is None else f"shape {found.shape}"
            raise SnapshotError(f"holds {told} for {name}, expected shape {fresh[name].shape}")
    forecaster.load({**fresh, **arrays})
