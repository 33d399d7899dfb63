"""What the documents for operators name is there, and what they say to type works as it stands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.tools import LIMIT, PACKAGES, ROOT, tool
from tests.service.program import streamrnn

DOCUMENTS = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("operations", "runbook", "security")}
OURS = "deploy/kubernetes/overlays/ours"  # the reader's own, which the page has him make
NOT_RUN = "# not run"


def commands(text: str) -> list[str]:
    """What is to be typed, a line each, continued lines joined."""
    blocks = re.findall(r"^    (\S.*)$", text.replace("\\\n        ", ""), re.MULTILINE)
    return [line for line in blocks if NOT_RUN not in line]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_and_every_test_that_is_named_is_there(name: str) -> None:
    named = set(re.findall(r"(?<![\w/.-])(?:deploy|tests|config|docs|streamrnn)/[\w@./-]*\w", DOCUMENTS[name]))
    named |= {f"docs/{target}" for target in re.findall(r"\]\(([\w.-]+\.md)\)", DOCUMENTS[name])}
    assert [path for path in sorted(named) if not (ROOT / path).exists() and not path.startswith(OURS)] == []
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [test for test in re.findall(r"`(test_\w+)`", DOCUMENTS[name]) if f"def {test}(" not in tests] == []


def test_what_promtool_and_kubectl_are_to_be_told_works_as_it_is_written(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    overlay = tmp_path / OURS
    overlay.mkdir()
    (told,) = re.findall(rf"^    # {OURS}/kustomization.yaml\n((?:    .*\n)+)", DOCUMENTS["operations"], re.MULTILINE)
    (overlay / "kustomization.yaml").write_text(re.sub(r"^    ", "", told, flags=re.MULTILINE))
    shutil.copy(tmp_path / "deploy/kubernetes/base/streamrnn.yaml", overlay)
    (overlay / "password").write_text("of-the-reader")
    (overlay / "ca.crt").write_text("a certificate")
    path = ":".join({str(Path(tool(name)).parent) for name in PACKAGES} | {"/usr/bin", "/bin"})
    typed = [line for line in commands(DOCUMENTS["operations"]) if re.match(r"(promtool|kubectl) ", line)]
    assert len(typed) == 7
    for line in typed:
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            env={"PATH": path},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if OURS in line:
            assert "image: registry.example.org/streamrnn:0.1.0" in done.stdout
            assert "replace-me" not in done.stdout, "the placeholders of the base"


def test_every_command_and_option_of_streamrnn_that_is_to_be_typed_is_there(tmp_path: Path) -> None:
    typed = [line for text in DOCUMENTS.values() for line in commands(text)]
    ours = [line.split("streamrnn ", 1)[1] for line in typed if re.match(r"(/opt/streamrnn/bin/)?streamrnn ", line)]
    assert ours
    for line in ours:
        words = line.partition("#")[0].split()
        group = words[: 2 if words[0] == "state" else 1]
        told = streamrnn(*group, "--help", cwd=tmp_path)
        assert told.returncode == 0, line
        options = [word for word in words if word.startswith("-")]
        assert [option for option in options if option not in told.stdout.decode()] == [], line
