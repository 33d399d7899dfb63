"""Each part of the recipe, and how to run the forecaster without it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from streamrnn.core import mixture
from streamrnn.core.backend import Array
from streamrnn.engine import features, readouts, series_step
from streamrnn.engine.layout import expert_names
from streamrnn.engine.readouts import Readouts
from streamrnn.engine.season_search import SeasonSearch
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.shared_model import SharedModel

NEVER = -1e9  # a prior that no regret makes up for
SHARED, EXACT = ("shared", "panel"), ("linear", "whole", "small")


@contextmanager
def without_experts(*names: str) -> Iterator[None]:
    """The mixture gives these experts no weight. They still run."""
    weigh = SharedModel.weigh_experts

    def weigh_others(self: SharedModel) -> None:
        weigh(self)
        self.prior[[name in names for name in self.experts]] = NEVER

    with patch.object(SharedModel, "weigh_experts", weigh_others):
        yield


@contextmanager
def without_season() -> Iterator[None]:
    """No season is looked for."""
    with patch.object(SeasonSearch, "look", lambda *_: None):
        yield


@contextmanager
def without_hidden_state_in_the_readouts() -> Iterator[None]:
    """The readouts see zeros where the network's state would be."""
    predict = Readouts.predict

    def blind(self: Readouts, table: Any, g: Any, slot: Array, phi: Array, hidden: Array, *rest: Array) -> Any:
        return predict(self, table, g, slot, phi, np.zeros_like(hidden), *rest)

    with patch.object(Readouts, "predict", blind):
        yield


@contextmanager
def without_panel() -> Iterator[None]:
    """The series of a stream do not see each other."""
    shown = features.panel
    with patch.object(series_step, "panel", lambda *given: np.zeros_like(shown(*given))):
        yield


@contextmanager
def constants(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """These constants of these modules are other ones."""
    with ExitStack() as stack:
        for module, name, value in changes:
            stack.enter_context(patch.object(module, name, value))
        yield


@contextmanager
def linear_alone() -> Iterator[None]:
    """Only the exact linear readout forecasts."""
    names = expert_names(Readouts(ForecastSettings(readout="exact")).names)
    alone = (mixture, "PRIOR_OTHER", 1.0), (mixture, "LAST_PRIOR", (1.0, NEVER)), (mixture, "POOL_CLIP", 0.0)
    with constants(*alone), without_experts(*(name for name in names if name != "linear")):
        yield


PARTS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: constants(),
    "the recurrent expert": lambda: without_experts("recurrent"),
    "hidden state in readouts": without_hidden_state_in_the_readouts,
    "all linear readouts": lambda: without_experts(*SHARED, *EXACT),
    "exact readouts": lambda: without_experts(*EXACT),
    "shared readouts": lambda: without_experts(*SHARED),
    "season": without_season,
    "panel features": without_panel,
    "clipped features": lambda: constants((features, "FEATURE_CLIP", 1e6), (readouts, "FEATURE_LIMIT", 1e6)),
    "bounded shocks": lambda: constants((mixture, "SHOCK", 1e9)),
    "pooled standing": lambda: constants((mixture, "POOL_CLIP", 0.0)),
    "two memories": lambda: constants((mixture, "MEMORIES", (1.0, 1.0))),
    "all but a linear readout": linear_alone,
    "last pass": lambda: constants((mixture, "LAST_PRIOR", (1.0, NEVER))),
}
