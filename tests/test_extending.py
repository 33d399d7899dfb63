"""The changes that docs/extending.md shows apply to the source as it is, and pass the tests that they should."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "extending.md"
DIFF = re.compile(r"^```diff\n(.+?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^`(\S+\.py)`:\n\n```python\n(.+?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with all changes of the page in it."""
    copy, page = tmp_path_factory.mktemp("extended"), PAGE.read_text(encoding="utf-8")
    for folder in ("streamrnn", "tests", "config"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for diff in DIFF.findall(page):
        told = subprocess.run(["git", "apply"], input=diff, cwd=copy, capture_output=True, text=True, check=False)
        assert told.returncode == 0, f"docs/extending.md: bring this change up to date:\n{told.stderr}{diff}"
    for name, text in FILE.findall(page):
        (copy / name).write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("part", "files", "some"),
    [
        ("the cell", "core/test_gradients.py core/test_fused.py engine/test_compiled.py", "minimal"),
        ("the cell among the settings", "service/test_config.py core/test_network.py", "choices or misuse"),
        ("the cell in the forecaster", "engine/test_forecaster.py", "recipe and minimal"),
        ("the expert", "engine/test_forecaster.py", "recipe and shared-gru-None"),
        ("the transport", "transport/test_memory_transport.py", "contract or Memory"),
    ],
)
def test_what_is_added_passes_the_tests_of_its_kind(extended: Path, part: str, files: str, some: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-k", some, *(f"tests/{name}" for name in files.split())]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}  # loops as plain Python: there is nothing to wait for
    told = subprocess.run(command, cwd=extended, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, f"{part}:\n{told.stdout}"
