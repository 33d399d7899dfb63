"""What a series costs in memory: the account that `check` shows."""

from dataclasses import replace
from typing import Any

from streamrnn.engine.forecaster import layout_of
from streamrnn.engine.settings import ForecastSettings

DAY = 24  # hours: the season, and the horizons of the second column
PART, CONFIGURED, A_DAY, IN_ALL = "part", "as configured", f"with horizons 1-{DAY}", "in all"


def account(settings: ForecastSettings) -> list[dict[str, Any]]:
    """Bytes a series by part of the recipe, their sum last; with the settings' horizons and with those of a day."""
    own, day = (
        layout_of(each).account(DAY) for each in (settings, replace(settings, horizons=tuple(range(1, DAY + 1))))
    )
    own[IN_ALL], day[IN_ALL] = sum(own.values()), sum(day.values())
    return [{PART: part, CONFIGURED: own[part], A_DAY: day[part]} for part in own]
