"""What holds for all tests."""

import os
from pathlib import Path

import pytest

from streamrnn.errors import ConfigError
from tests.backends import BACKENDS, chosen

MARKED = {
    "kafka": "kafka",
    "chaos": "kafka",
    "deploy": "deploy",
    "examples": "examples",
}  # what all tests of a folder need


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "where the arrays of tests/core and tests/engine live; strict: on an imagined device, see strict_arrays.py"
    parser.addoption("--backend", choices=BACKENDS, default="numpy", help=told)


def pytest_configure(config: pytest.Config) -> None:
    try:
        chosen(config)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--backend") != "numpy":
        theirs = [item for item in items if _of_numpy_alone(item)]
        config.hook.pytest_deselected(items=theirs)
        items[:] = [item for item in items if item not in theirs]
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in MARKED:
            item.add_marker(MARKED[folder])


def _of_numpy_alone(item: pytest.Item) -> bool:
    """Whether it is about what no other array module can do, such as the compiled loops."""
    chosen_for = getattr(getattr(item, "callspec", None), "params", {})
    return "on_the_host" in getattr(item, "fixturenames", ()) or chosen_for.get("each_step") == "loops"


@pytest.fixture
def on_the_host() -> None:
    """For what only NumPy's arrays can do: not collected for other backends."""


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STREAMRNN__")]:
        monkeypatch.delenv(name)
