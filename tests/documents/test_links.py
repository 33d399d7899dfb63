"""Every link within the project leads somewhere: to a file, to a heading, to a function of that name."""

import ast
import re
from pathlib import Path

import pytest

from tests.documents.pages import DOCS, ROOT

PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "examples" / "README.md"])
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    """A page without its code, whose brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^(    .*)$", "", text, flags=re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub and MyST make it of them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"))
    return found


def defined(path: Path) -> set[str]:
    """Functions, classes and constants of a module."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def navigation() -> dict[str, list[str]]:
    """The side bar of docs/conf.py, which cannot be imported without Sphinx."""
    for node in ast.parse((DOCS / "conf.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NAVIGATION":
            found: dict[str, list[str]] = ast.literal_eval(node.value)
            return found
    raise AssertionError("docs/conf.py has no NAVIGATION")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for text, target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target} is not there"
        assert not anchor or anchor in anchors(path), f"{page.name}: {target} has no such heading"
        if path.suffix == ".py" and re.fullmatch(r"`\w+`", text):
            assert text.strip("`") in defined(path), f"{page.name}: {path.name} defines no {text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_picture_is_there_and_is_told_to_who_cannot_see_it(page: Path) -> None:
    for told, target in PICTURE.findall(prose(page)):
        path = page.parent / target
        assert path.is_file(), f"{page.name}: {target} is not there"
        assert told, f"{page.name}: {target} has no text"


def test_every_document_is_in_the_navigation_and_the_reverse() -> None:
    named = [name for names in navigation().values() for name in names]
    assert len(set(named)) == len(named)
    there = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")} - {"index"}
    assert set(named) == there


def test_every_decision_has_a_line_in_the_design() -> None:
    design = (DOCS / "design.md").read_text(encoding="utf-8")
    for path in sorted((DOCS / "decisions").glob("*.md")):
        number, title = int(path.name[:4]), path.read_text(encoding="utf-8").partition("\n")[0]
        assert title.startswith(f"# {number}. ")
        assert f"(decisions/{path.name})" in design, f"design.md does not name decision {number}"
