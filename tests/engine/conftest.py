"""Where the engine's arrays live, and both ways to step a series, for the tests that ask for them."""

from collections.abc import Iterator
from types import ModuleType

import pytest

from streamrnn.engine import forecaster
from streamrnn.engine.compiled.walk import walk
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.snapshot import restore
from streamrnn.engine.stream_table import StreamTable
from streamrnn.engine.waves import in_waves
from tests.backends import chosen

WAYS = {"arrays": in_waves, "loops": walk}


@pytest.fixture(scope="session", autouse=True)
def xp(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The array module of all forecasters and tables that are made without one."""
    module = chosen(request.config)
    with pytest.MonkeyPatch.context() as patch:
        for function in (Forecaster.__init__, StreamTable.__init__, restore):
            patch.setattr(function, "__defaults__", (module,))
        yield module


@pytest.fixture(scope="module", params=WAYS)
def each_step(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once with operations on arrays, once with compiled loops, which are not collected for other backends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecaster, "fastest_way", lambda _: WAYS[request.param])
        yield
