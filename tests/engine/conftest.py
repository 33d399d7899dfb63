"""Both ways to step a series, for the tests that ask for them."""

from collections.abc import Iterator

import pytest

from streamrnn.engine.compiled import compiler


@pytest.fixture(scope="module", params=[False, True], ids=["arrays", "loops"])
def each_step(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once with operations on arrays, once with compiled loops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "AVAILABLE", request.param)
        yield
