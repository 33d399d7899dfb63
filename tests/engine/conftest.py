"""Both ways to step a series, for the tests that ask for them."""

from collections.abc import Iterator

import pytest

from streamrnn.engine import forecaster, series_step
from streamrnn.engine.compiled import series_step as compiled

WAYS = {"arrays": series_step.step_series, "loops": compiled.step_series}


@pytest.fixture(scope="module", params=WAYS)
def each_step(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once with operations on arrays, once with compiled loops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecaster, "fastest_step", lambda _: WAYS[request.param])
        yield
