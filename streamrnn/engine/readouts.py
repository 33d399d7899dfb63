"""The linear experts of a series: how they forecast, remember and learn.

Exact ones are recursive least squares with F² floats a readout: two over all features where `model.readout` is exact,
for some thousand series, else one over few. Shared ones have one curvature for all series of the task and F floats a
readout. Both are handed features φ and labels (x[t+h] - base) / S.

    predict    experts' forecasts at an origin; what its labels will need goes to the rings by origin
    learn      labels that have arrived, each with the features of its own origin
"""

from types import ModuleType

import numpy as np

from streamrnn.core import readout, scaling, shared_curvature
from streamrnn.core.backend import Array, array_module
from streamrnn.engine.layout import LINEAR_FEATURES, SMALL, Field, panel_features
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.stream_table import StreamTable

F = LINEAR_FEATURES
RATE, PANEL_RATE = 2.0, 1.0  # step sizes over the shared curvature
FEATURE_LIMIT = 10.0
WHOLE = 16  # columns that BLAS takes at once
REFRESH = 1.02  # the inverse is computed anew when the weight behind the moments has grown by this factor

Rows = dict[str, Array]


class ExactReadout:
    """Recursive least squares over the first `width` of the features [φ, hidden state, panel]."""

    def __init__(self, name: str, width: int, forgetting: float) -> None:
        self.name, self._width, self.forgetting = name, width, forgetting
        self._curvature, self._weights, self._gains = f"{name}_curvature", f"{name}_weights", f"{name}_gains"
        self.pooled = (self._weights,)
        self.stepped = (self._curvature, self._weights)

    def fields(self, horizons: int, longest: int) -> tuple[Field, ...]:
        """Its slabs."""
        return (
            Field(self._curvature, self.name, (self._width, self._width)),
            Field(self._weights, self.name, (horizons, self._width)),
            Field(self._gains, self.name, (longest, self._width)),
        )

    def predict(self, table: StreamTable, g: Rows, slot: Array, features: Array, origin: Array) -> Array:
        """Its forecasts (B, P) of these features (B, n); origin (B,) bool: this step will be learnt from."""
        features = features[:, : self._width]
        table.rings[self._gains][slot] = readout.update_curvature(
            g[self._curvature], features, origin, self.forgetting
        )
        return readout.predict(g[self._weights], features)

    def learn(self, table: StreamTable, g: Rows, slots: Array, features: Array, label: Array, valid: Array) -> None:
        """Labels (B, P) of the origins in these slots (B, P), which had these features (B, P, n)."""
        gains = table.rings[self._gains].take(slots, axis=0)
        readout.learn(g[self._weights], features[:, :, : self._width], gains, label, valid)


class SharedReadouts:
    """Readouts over the curvature that all series of the task share: one over φ, and one with the panel."""

    def __init__(self, settings: ForecastSettings, *, xp: ModuleType) -> None:
        self.xp, self._D = xp, settings.features
        self._panel = panel_features(settings)
        self.names = ("shared", "panel") if self._panel else ("shared",)
        self.pooled = tuple(f"{name}_weights" for name in self.names)
        self.stepped = ("feature_square", "strength", *self.pooled)
        self.moments = np.zeros((self._D, F + self._panel, F + self._panel))
        self.weight = 0.0  # feature vectors behind the moments, forgetting included
        self.refreshed = 0.0  # the weight at which the inverse was last computed
        self.refresh(1.0)

    def fields(self, horizons: int, longest: int) -> tuple[Field, ...]:
        """Its slabs."""
        n = F + self._panel
        own = (
            Field("scaled", "linear", (longest, n)),  # φ̃
            Field("directions", "linear", (longest, F)),  # P φ̃
            Field("feature_square", "linear", (n,)),
            Field("strength", "linear", ()),
            Field("shared_weights", "linear", (horizons, F)),
        )
        if not self._panel:
            return own
        return *own, Field("panel_directions", "panel", (longest, n)), Field("panel_weights", "panel", (horizons, n))

    def predict(
        self, table: StreamTable, g: Rows, slot: Array, phi: Array, panel: Array
    ) -> tuple[list[Array], Array]:
        """Each readout's forecasts (B, P), and φ̃ (B, n) for the moments. phi (B, F), panel (B, 2 D)."""
        features = self.xp.concatenate([phi, panel], axis=1) if self._panel else phi
        scaled = scaling.normalise(features, g["feature_square"], g["steps"], FEATURE_LIMIT)
        table.rings["scaled"][slot] = scaled
        plain = scaled[:, :F]
        table.rings["directions"][slot], panel_directions = self.directions(scaled)
        made = [readout.predict(g["shared_weights"], plain)]
        if self._panel:
            table.rings["panel_directions"][slot] = panel_directions
            made.append(readout.predict(g["panel_weights"], scaled))
        return made, scaled

    def directions(self, scaled: Array) -> tuple[Array, Array]:
        """P φ̃ for φ̃ (B, n): over the features alone (B, F), and with the panel (B, n or 0)."""
        plain = rows_product(scaled[:, :F], self.P)
        if not self._panel:
            return plain, self.xp.empty((len(scaled), 0), scaled.dtype)
        by_feature = scaled.reshape(-1, self._D, F + self._panel).transpose(1, 0, 2)
        whole = rows_product(by_feature, self.P_panel).transpose(1, 0, 2)
        return plain, whole.reshape(scaled.shape)

    def learn(self, table: StreamTable, g: Rows, slots: Array, label: Array, valid: Array, counted: Array) -> None:
        """Labels (B, P) of the origins in these slots (B, P); counted (B, P): labels had before."""
        scaled, directions = (table.rings[name].take(slots, axis=0) for name in ("scaled", "directions"))
        plain = scaled[:, :, :F]
        known = counted + g["strength"][:, None]
        gains = shared_curvature.gains(directions, plain, RATE, known)
        readout.learn(g["shared_weights"], plain, gains, label, valid)
        if self._panel:
            gains = shared_curvature.gains(
                table.rings["panel_directions"].take(slots, axis=0), scaled, PANEL_RATE, known
            )
            readout.learn(g["panel_weights"], scaled, gains, label, valid)

    def fold(self, samples: Array, decay: float, steps: float) -> None:
        """At a boundary: feature vectors (S, D, n) of the steps since the last; decay of what was there before."""
        if not np.isfinite(samples).all():
            samples = samples[np.isfinite(samples).all((1, 2))]
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


class Readouts:
    """The linear experts that `model.readout` asks for, in the order of the mixture."""

    def __init__(self, settings: ForecastSettings, xp: ModuleType = np) -> None:
        self.xp, self._settings = xp, settings
        self._kept = SMALL
        self.exact = [ExactReadout("small", SMALL, readout.FORGETTING)]
        if settings.readout == "exact":
            self._kept = F + settings.hidden + panel_features(settings)
            self.exact = [
                ExactReadout("linear", F + settings.hidden, readout.FORGETTING),
                ExactReadout("whole", self._kept, 1.0),
            ]
        self.shared = SharedReadouts(settings, xp=xp)
        self.names = (*(each.name for each in self.exact), *self.shared.names)
        parts: tuple[ExactReadout | SharedReadouts, ...] = (*self.exact, self.shared)
        self.stepped = tuple(name for part in parts for name in part.stepped)
        self.pooled = tuple(name for part in parts for name in part.pooled)

    def fields(self) -> tuple[Field, ...]:
        """All slabs of the linear experts."""
        P, longest = len(self._settings.horizons), self._settings.longest
        parts: tuple[ExactReadout | SharedReadouts, ...] = (*self.exact, self.shared)
        kept = Field("features", self.exact[0].name, (longest, self._kept))
        return kept, *(field for part in parts for field in part.fields(P, longest))

    def predict(
        self, table: StreamTable, g: Rows, slot: Array, phi: Array, hidden: Array, panel: Array, origin: Array
    ) -> tuple[list[Array], Array]:
        """Each expert's forecasts (B, P), and φ̃ (B, n) for the shared moments.

        slot (B,) in the rings by origin; phi (B, F), hidden (B, H), panel (B, 2 D or 0), origin (B,) bool.
        """
        features = phi[:, : self._kept]
        if self._kept > F:
            features = self.xp.concatenate([phi, hidden, panel], axis=1)
        table.rings["features"][slot] = features
        made = [each.predict(table, g, slot, features, origin) for each in self.exact]
        shared, scaled = self.shared.predict(table, g, slot, phi, panel)
        return made + shared, scaled

    def learn(self, table: StreamTable, g: Rows, slots: Array, label: Array, valid: Array, counted: Array) -> None:
        """Labels (B, P) of the origins in these slots (B, P); counted (B, P): labels had before."""
        features = table.rings["features"].take(slots, axis=0)
        for each in self.exact:
            each.learn(table, g, slots, features, label, valid)
        self.shared.learn(table, g, slots, label, valid, counted)


def rows_product(rows: Array, matrix: Array) -> Array:
    """Rows @ matrix, rounded alike for any number of rows: (..., B, n), (..., n, m) -> (..., B, m).

    To the last bit with OpenBLAS' kernels for AVX-512; those of older processors leave the last two to the number.
    """
    xp, B, m = array_module(rows), rows.shape[-2], matrix.shape[-1]
    if B == 1:  # a product of one row uses another kernel
        rows = xp.repeat(rows, 2, axis=-2)
    if m % WHOLE:  # what is left of the columns uses kernels that depend on the number of rows
        matrix = xp.concatenate([matrix, xp.zeros((*matrix.shape[:-1], -m % WHOLE), matrix.dtype)], axis=-1)
    return (rows @ matrix)[..., :B, :m]
