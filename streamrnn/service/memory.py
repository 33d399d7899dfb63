"""What the streams cost in memory: the account that `check` tells."""

from dataclasses import replace

from streamrnn.engine.forecaster import layout_of
from streamrnn.engine.settings import ForecastSettings

DAY = 24  # hours: the season, and the horizons to compare with


def account(settings: ForecastSettings) -> dict[str, int]:
    """Bytes of a series by part of the recipe, with the profiles of a season of DAY steps."""
    return layout_of(settings).account(DAY)


def stream_bytes(settings: ForecastSettings) -> int:
    """Bytes of a stream: of all its series."""
    return settings.features * sum(account(settings).values())


def told(settings: ForecastSettings) -> list[str]:
    """Sentences on a stream's memory, on that of as many as there may be, and on what makes it so."""
    D, a_day = settings.features, replace(settings, horizons=tuple(range(1, DAY + 1)))
    parts = sorted(account(settings).items(), key=lambda part: -part[1])
    each = f", for each of {D} features" if D > 1 else ""
    return [
        f"{stream_bytes(settings):,} bytes a stream, in a season of {DAY} steps "
        f"({stream_bytes(a_day):,} with horizons 1-{DAY})",
        ", ".join(f"{name} {size:,}" for name, size in parts) + each,
        f"{settings.max_streams:,} streams a partition at most: {at_most(settings, 1)}",
    ]


def at_most(settings: ForecastSettings, partitions: int) -> str:
    """What the streams of so many partitions can take."""
    return f"{stream_bytes(settings) * settings.max_streams * partitions / 2**20:,.0f} MiB"
