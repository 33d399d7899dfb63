"""The linear experts of a series: how they forecast, remember and learn.

`exact` is recursive least squares with F² floats a readout, for some thousand series; `shared` has one curvature for
all series of the task and F floats a readout. Both are handed features φ and labels (x[t+h] - base) / S.

    predict    experts' forecasts at an origin; what its labels will need goes to the rings by origin
    learn      labels that have arrived, each with the features of its own origin
"""

from types import ModuleType

import numpy as np

from streamrnn.core import readout, scaling, shared_curvature
from streamrnn.core.backend import Array, array_module
from streamrnn.engine.layout import LINEAR_FEATURES, SMALL, panel_features
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.stream_table import StreamTable, ring

F = LINEAR_FEATURES
SLOW, FAST = 1.0, 4.0  # step sizes of the two readouts over the shared curvature
FEATURE_LIMIT = 10.0
REFRESH = 1.02  # the inverse is computed anew when the weight behind the moments has grown by this factor

Rows = dict[str, Array]


class ExactReadouts:
    """Two: over the features and the hidden state with forgetting, and with the panel's features without."""

    stepped = ("curvature", "weights", "panel_curvature", "panel_weights")
    pooled = ("weights", "panel_weights")

    def __init__(self, settings: ForecastSettings, xp: ModuleType) -> None:
        self.xp = xp
        self._plain = F + settings.hidden

    def predict(
        self, table: StreamTable, g: Rows, slot: Array, phi: Array, hidden: Array, panel: Array, origin: Array
    ) -> tuple[list[Array], Array | None]:
        """Forecasts (B, P) of each readout. phi (B, F), hidden (B, H), panel (B, ...), origin (B,) bool."""
        features = self.xp.concatenate([phi, hidden, panel], axis=1)
        plain = features[:, : self._plain]
        ring(table, "features")[slot] = features
        ring(table, "gains")[slot] = readout.update_curvature(g["curvature"], plain, origin, readout.FORGETTING)
        ring(table, "panel_gains")[slot] = readout.update_curvature(g["panel_curvature"], features, origin, 1.0)
        return [readout.predict(g["weights"], plain), readout.predict(g["panel_weights"], features)], None

    def learn(self, table: StreamTable, g: Rows, slots: Array, label: Array, valid: Array, counted: Array) -> None:
        """Labels (B, P) of the origins in these slots (B, P)."""
        del counted
        features = ring(table, "features").take(slots, axis=0)
        plain = features[:, :, : self._plain]
        readout.learn(g["weights"], plain, ring(table, "gains").take(slots, axis=0), label, valid)
        gains = ring(table, "panel_gains").take(slots, axis=0)
        readout.learn(g["panel_weights"], features, gains, label, valid)

    def fold(self, samples: Array, decay: float, steps: float) -> None:
        """Nothing is shared."""

    def state(self) -> dict[str, Array]:
        """Nothing is shared."""
        return {}

    def load(self, arrays: dict[str, Array]) -> None:
        """Nothing is shared."""


class SharedReadouts:
    """A small exact one, two step sizes over the shared curvature, and one more with the panel's features."""

    def __init__(self, settings: ForecastSettings, xp: ModuleType) -> None:
        self.xp, self._D = xp, settings.features
        self._panel = panel_features(settings)
        self.pooled = ("weights", "slow_weights", "fast_weights", *(["panel_weights"] if self._panel else []))
        self.stepped = ("curvature", "feature_square", "strength", *self.pooled)
        self.moments = np.zeros((self._D, F + self._panel, F + self._panel))
        self.weight = 0.0  # feature vectors behind the moments, forgetting included
        self.refreshed = 0.0  # the weight at which the inverse was last computed
        self.refresh(1.0)

    def predict(
        self, table: StreamTable, g: Rows, slot: Array, phi: Array, hidden: Array, panel: Array, origin: Array
    ) -> tuple[list[Array], Array | None]:
        """Forecasts (B, P) of each readout, and φ̃ for the shared moments. phi (B, F), panel (B, ...)."""
        del hidden
        small = phi[:, :SMALL]
        ring(table, "small_features")[slot] = small
        ring(table, "gains")[slot] = readout.update_curvature(g["curvature"], small, origin, readout.FORGETTING)
        scaled = scaling.normalise(
            self.xp.concatenate([phi, panel], axis=1), g["feature_square"], g["steps"], FEATURE_LIMIT
        )
        ring(table, "features")[slot] = scaled
        plain = scaled[:, :F]
        ring(table, "directions")[slot] = rows_product(plain, self.P)
        made = [
            readout.predict(g[name], x)
            for name, x in (("weights", small), ("slow_weights", plain), ("fast_weights", plain))
        ]
        if self._panel:
            by_feature = scaled.reshape(-1, self._D, F + self._panel).transpose(1, 0, 2)
            directions = rows_product(by_feature, self.P_panel).transpose(1, 0, 2)
            ring(table, "panel_directions")[slot] = directions.reshape(len(phi), -1)
            made.append(readout.predict(g["panel_weights"], scaled))
        return made, scaled

    def learn(self, table: StreamTable, g: Rows, slots: Array, label: Array, valid: Array, counted: Array) -> None:
        """Labels (B, P) of the origins in these slots (B, P); counted (B, P): labels had before."""
        take = {
            name: ring(table, name).take(slots, axis=0)
            for name in ("small_features", "gains", "features", "directions")
        }
        readout.learn(g["weights"], take["small_features"], take["gains"], label, valid)
        plain = take["features"][:, :, :F]
        counted = counted + g["strength"][:, None]
        for name, rate in (("slow_weights", SLOW), ("fast_weights", FAST)):
            gains = shared_curvature.gains(take["directions"], plain, rate, counted)
            readout.learn(g[name], plain, gains, label, valid)
        if self._panel:
            directions = ring(table, "panel_directions").take(slots, axis=0)
            gains = shared_curvature.gains(directions, take["features"], SLOW, counted)
            readout.learn(g["panel_weights"], take["features"], gains, label, valid)

    def fold(self, samples: Array, decay: float, steps: float) -> None:
        """At a boundary: feature vectors (S, D, n) of the steps since the last; decay of what was there before."""
        by_feature = np.asarray(samples, float).transpose(1, 0, 2)
        self.moments = decay * self.moments + by_feature.transpose(0, 2, 1) @ by_feature
        self.weight = decay * self.weight + len(samples)
        if self.weight > REFRESH * self.refreshed:
            self.refresh(steps)

    def refresh(self, steps: float) -> None:
        """Compute the inverse anew; `steps` a series has made."""
        self.refreshed = self.weight
        plain = self.moments[:, :F, :F].mean(0)
        self.P = self.xp.asarray(shared_curvature.inverse(plain, self.weight, steps), "float32")
        if self._panel:
            self.P_panel = self.xp.asarray(shared_curvature.inverse(self.moments, self.weight, steps), "float32")

    def state(self) -> dict[str, Array]:
        """What is shared, by name."""
        weights = np.array([self.weight, self.refreshed])
        made = {"moments": self.moments, "moments.weight": weights, "moments.inverse": self.P}
        return made | ({"moments.panel_inverse": self.P_panel} if self._panel else {})

    def load(self, arrays: dict[str, Array]) -> None:
        """Go on from what `state` gave."""
        self.moments, self.P = arrays["moments"], self.xp.asarray(arrays["moments.inverse"])
        self.weight, self.refreshed = arrays["moments.weight"].tolist()
        if self._panel:
            self.P_panel = self.xp.asarray(arrays["moments.panel_inverse"])


def rows_product(rows: Array, matrix: Array) -> Array:
    """Rows @ matrix, rounded alike for any number of rows: a product of one row would use another kernel."""
    if rows.shape[-2] > 1:
        return rows @ matrix
    return (array_module(rows).repeat(rows, 2, axis=-2) @ matrix)[..., :1, :]
