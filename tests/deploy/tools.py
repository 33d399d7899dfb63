"""The real tools, run as an operator runs them. One that is missing fails the test: a skip would hide it."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
LIMIT: Final = 120.0
PACKAGES: Final = {
    "promtool": "the Debian package prometheus",
    "prometheus": "the Debian package prometheus",
    "systemd-analyze": "the Debian package systemd",
    "systemctl": "the Debian package systemd",
    "kubectl": "kubectl 1.27 or newer",
    "unshare": "the Debian package util-linux",
    "nsenter": "the Debian package util-linux",
}


def tool(name: str) -> str:
    """Where the tool is."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not here: install {PACKAGES[name]}, as .ci/run does"
    return found


def run(name: str, *arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """The tool's answer, whatever it is."""
    return subprocess.run(
        [tool(name), *map(str, arguments)], input=given, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def said(answer: subprocess.CompletedProcess[str]) -> str:
    """All that it wrote."""
    return f"exit code {answer.returncode}\n{answer.stdout}{answer.stderr}"
