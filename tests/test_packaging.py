"""What is handed out: a wheel and a source distribution, built here and looked into."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGE = 1 << 20  # bytes that no file of the source needs
WITHOUT_MATPLOTLIB = """
import importlib.util
from streamrnn.cli import main
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *package: None if name == "matplotlib" else find_spec(name, *package)
main()
"""
PYTHON = "Programming Language :: Python :: "


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel and a source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def files_under(folder: str) -> set[str]:
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_the_wheel_holds_the_package_whole_and_little_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if not name.startswith("streamrnn-")}
        about = {name.split("/", 1)[1]: name for name in wheel.namelist() if name not in names}
        entry = wheel.read(about["entry_points.txt"]).decode()
    assert names == files_under("streamrnn")
    assert {"streamrnn/py.typed", "streamrnn/data/weather.csv.gz"} <= names
    assert set(about) == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert "streamrnn = streamrnn.cli:main" in entry


def test_the_wheel_s_page_is_the_readme(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        head, _, page = wheel.read(name).decode().partition("\n\n")
    assert page.strip() == (ROOT / "README.md").read_text().strip()
    assert "Description-Content-Type: text/markdown" in head


def test_the_source_distribution_is_enough_to_run_the_tests_and_holds_nothing_large(
    built: tuple[Path, Path],
) -> None:
    with tarfile.open(built[1]) as source:
        sizes = {member.name.split("/", 1)[1]: member.size for member in source if member.isfile()}
    for folder in ("streamrnn", "tests", "config", ".github"):
        assert files_under(folder) <= set(sizes)
    assert {"Makefile", "CHANGELOG.md", "CONTRIBUTING.md", ".ci/run", "pyproject.toml"} <= set(sizes)
    assert not [name for name in sizes if "__pycache__" in name or ".venv" in name]
    assert not [name for name, size in sizes.items() if size > LARGE]


def test_a_version_of_python_is_named_only_where_the_tests_run_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [name.removeprefix(PYTHON) for name in project["classifiers"] if name.startswith(PYTHON)]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert named == re.findall(r'python-version: "([\d.]+)"', workflow)
    assert project["requires-python"] == f">={named[0]}"


def test_without_the_extra_plot_the_demo_says_how_to_get_it_and_ends_well(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_MATPLOTLIB, "demo", "--once", "--plot", "nothing.png"]
    told = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert "`pip install matplotlib` brings it" in told.stdout
    assert list(tmp_path.iterdir()) == []
