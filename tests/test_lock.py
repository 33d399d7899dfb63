"""The container's lock files hold what pyproject.toml asks for, each by version and hash."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def locked(name: str) -> dict[str, set[str]]:
    """The versions of each project."""
    found: dict[str, set[str]] = {}
    entries = re.split(r"\n(?=\S)", (ROOT / "deploy" / name).read_text())
    for entry in (entry for entry in entries if not entry.startswith("#")):
        pinned = re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", entry)
        assert pinned is not None, f"{entry.splitlines()[0]} is not pinned"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{pinned[1]} has no hash"
        found.setdefault(canonicalize_name(pinned[1]), set()).add(pinned[2])
    return found


def project() -> dict[str, list[str]]:
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {"requirements.lock": text["project"]["dependencies"], "build.lock": text["build-system"]["requires"]}


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_a_lock_holds_what_is_asked_for_in_a_version_that_fits(name: str) -> None:
    found = locked(name)
    for requirement in map(Requirement, project()[name]):
        versions = found.get(canonicalize_name(requirement.name), set())
        assert versions, f"make lock: {requirement.name} is not in deploy/{name}"
        assert all(map(requirement.specifier.contains, versions)), f"make lock: {requirement} is not {versions}"


def test_a_lock_names_no_place_to_install_from() -> None:
    for name in project():
        assert "index-url" not in (ROOT / "deploy" / name).read_text()
