"""The rooms of the house: every module's imports are read, and none may point the wrong way."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "streamrnn"
FILES = sorted((ROOT / PACKAGE).rglob("*.py"))

ROOMS = {"core": 1, "engine": 2, "transport": 3, "service": 4}  # all else at the top is named below
FLOOR = {"errors", "records"}  # room 0
LEAVES = {"data"}  # import nothing, and only the service and what is above may import them
TRANSPORT_SEES = "streamrnn.engine.snapshot"  # all that a transport knows of the engine
PURE = 2  # rooms up to this one know no effects

EFFECTS = {
    *("asyncio", "concurrent", "threading", "_thread", "multiprocessing", "queue", "sched", "contextvars"),
    *("socket", "socketserver", "ssl", "select", "selectors", "http", "urllib", "ftplib", "smtplib", "xmlrpc"),
    *("os", "posix", "pathlib", "io", "shutil", "tempfile", "glob", "fcntl", "mmap", "sqlite3", "subprocess"),
    *("sys", "signal", "resource", "platform", "ctypes", "getpass", "pwd", "atexit", "gc", "builtins"),
    *("time", "zoneinfo", "calendar", "locale", "random", "secrets", "uuid"),
    *("logging", "warnings", "traceback", "structlog", "rich", "click", "argparse", "configparser"),
    *("yaml", "aiokafka", "aiohttp", "prometheus_client", "safetensors", "matplotlib", "requests"),
}
EFFECTS_CALLED = {"open", "print", "input", "breakpoint", "exec", "eval", "__import__"}
EFFECTS_OF_OBJECTS = {"now", "utcnow", "today", "fromfile", "tofile", "memmap", "loadtxt", "savetxt", "savez"}
FINDS_THE_DEVICE = "streamrnn.core.backend"  # may ask importlib for the module of an array's own type
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "handler", "handlers"}
FULL = 450  # lines of a file


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path.read_text() for path in FILES}


def room(module: str) -> int:
    """The layer of a module or a name in one; what stands at the top and is no floor does the wiring."""
    first = module.split(".")[1:2]
    return 0 if set(first) & (FLOOR | LEAVES | {"__version__"}) else ROOMS.get("".join(first), 5)


def is_leaf(module: str) -> bool:
    return bool(set(module.split(".")[1:2]) & LEAVES)


def imported(module: str, source: str, package: bool = False) -> Iterator[str]:
    """Every module or name that the source imports, wherever the statement stands, in full."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: len(module.split(".")) - node.level + package]
                base = ".".join([*above, base] if base else above)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def wrong_ways(module: str, source: str, package: bool = False) -> list[str]:
    """What this module may not import of the package."""
    here = room(module)
    wrong = []
    for target in imported(module, source, package):
        if target.split(".")[0] != PACKAGE:
            continue
        there = room(target)
        if (
            there > here
            or (is_leaf(target) and here < ROOMS["service"])
            or (is_leaf(module) and not is_leaf(target))
            or (here == ROOMS["transport"] and there in (1, 2) and not target.startswith(f"{TRANSPORT_SEES}."))
        ):
            wrong.append(target)
    return wrong


def effects(module: str, source: str) -> list[str]:
    """Where this module would touch the world: effects imported, called, or asked of an object."""
    found = [t for t in imported(module, source) if t.split(".")[0] in EFFECTS]
    if module != FINDS_THE_DEVICE:
        found += [t for t in imported(module, source) if t.split(".")[0] == "importlib"]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in EFFECTS_CALLED:
            found.append(f"{node.func.id}() in line {node.lineno}")
        elif isinstance(node, ast.Attribute) and node.attr in EFFECTS_OF_OBJECTS:
            found.append(f".{node.attr} in line {node.lineno}")
    return found


def test_every_room_has_modules_that_are_read() -> None:
    assert {room(module) for module in MODULES} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way_down_the_rooms(module: str) -> None:
    path = ROOT / Path(*module.split("."))
    assert wrong_ways(module, MODULES[module], package=path.is_dir()) == []


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) <= PURE and not is_leaf(module)])
def test_no_effect_lives_below_the_transports(module: str) -> None:
    assert effects(module, MODULES[module]) == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_pickled(module: str) -> None:
    picklers = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    assert [t for t in imported(module, MODULES[module]) if t.split(".")[0] in picklers] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_named_for_its_idea(module: str) -> None:
    assert not {word for part in module.split(".") for word in part.split("_")} & VAGUE


@pytest.mark.parametrize("path", FILES, ids=lambda path: name_of(path))
def test_no_file_is_more_than_full(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FULL


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("streamrnn.core.x", "import streamrnn.engine.forecaster"),
        ("streamrnn.core.x", "from streamrnn import engine"),
        ("streamrnn.core.x", "def f():\n    from streamrnn.engine import layout"),
        ("streamrnn.core.x", "if TYPE_CHECKING:\n    from streamrnn.service.task import Task"),
        ("streamrnn.core.x", "from ..engine.layout import Layout"),
        ("streamrnn.core.x", "from streamrnn.data import WEATHER"),
        ("streamrnn.engine.x", "from streamrnn.transport.contract import Transport"),
        ("streamrnn.transport.x", "from streamrnn.engine.forecaster import Forecaster"),
        ("streamrnn.transport.x", "from streamrnn.engine import forecaster"),
        ("streamrnn.transport.x", "from streamrnn.core.backend import Array"),
        ("streamrnn.transport.x", "from streamrnn.data import WEATHER"),
        ("streamrnn.service.x", "from streamrnn import cli"),
        ("streamrnn.service.x", "from streamrnn import Forecaster"),
        ("streamrnn.service.x", "try:\n    import streamrnn.cli\nexcept ImportError:\n    pass"),
        ("streamrnn.records", "from streamrnn.core.backend import Array"),
        ("streamrnn.data.x", "from streamrnn.errors import StreamRNNError"),
    ],
)
def test_an_import_that_points_the_wrong_way_is_seen(module: str, source: str) -> None:
    assert len(wrong_ways(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("streamrnn.core.x", "from streamrnn.errors import StreamRNNError"),
        ("streamrnn.engine.x", "from streamrnn.core import readout\nfrom streamrnn.engine.layout import Layout"),
        ("streamrnn.transport.x", "from streamrnn.engine.snapshot import SnapshotPages"),
        ("streamrnn.service.x", "from streamrnn.data import WEATHER\nfrom streamrnn import __version__"),
        ("streamrnn.cli", "from streamrnn.service import assembly\nimport streamrnn.engine.layout"),
    ],
)
def test_an_import_that_points_down_is_allowed(module: str, source: str) -> None:
    assert wrong_ways(module, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os.path",
        "from pathlib import Path",
        "def f():\n    import time",
        "import logging",
        "import asyncio",
        "from importlib import import_module",
        "open('x')",
        "print(1)",
        "datetime.now()",
        "array.tofile('x')",
    ],
)
def test_an_effect_is_seen(source: str) -> None:
    assert len(effects("streamrnn.engine.x", source)) == 1
