"""The settings that touch forecasts. They are part of every snapshot: replay uses the snapshot's."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import msgspec

from streamrnn.errors import SnapshotError


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """What a Forecaster needs to know; all else (topics, intervals of the clock) is the service's."""

    features: int = 1  # D
    horizons: tuple[int, ...] = (1,)  # steps ahead, ascending
    coverage: float = 0.9
    missing: tuple[float, ...] = ()  # sentinels that mean "no value"
    cell: str = "gru"
    hidden: int = 32
    readout: str = "shared"  # exact | shared
    learning: bool = True
    window: int = 16  # steps of truncated BPTT
    rate: float = 0.003
    clip_norm: float = 1.0
    seed: int = 0
    max_streams: int = 1_000_000
    ttl_ms: int | None = None

    @property
    def longest(self) -> int:
        return self.horizons[-1]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> "ForecastSettings":
        """Raises SnapshotError where a newer or older version wrote other names, or values of other types."""
        names = {f.name for f in fields(cls)}
        if set(written) != names:
            odd = sorted(set(written) ^ names)
            raise SnapshotError(f"the snapshot's settings differ from this version's in {', '.join(odd)}")
        try:
            return msgspec.convert(written, cls)
        except msgspec.ValidationError as error:
            raise SnapshotError(f"the snapshot's settings are not ours: {error}") from error

    def difference(self, other: "ForecastSettings", names: tuple[str, ...]) -> list[str]:
        """`name: mine, theirs` for each of these names whose values differ."""
        return [
            f"{name}: {getattr(self, name)} here, {getattr(other, name)} there"
            for name in names
            if getattr(self, name) != getattr(other, name)
        ]
