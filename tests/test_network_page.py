"""docs/network.md says what is true: its Python runs, from top to bottom, as a reader would type it."""

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "network.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_every_block_of_the_page_is_python_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PAGE.read_text().count("```") == 2 * len(BLOCKS) > 0
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, block in enumerate(BLOCKS, 1):
        exec(compile(block, f"network.md, block {number}", "exec"), names)
    assert names["flow"].shape == (2, 20)
    assert (tmp_path / "network.safetensors").exists()


def test_the_api_of_the_page_takes_no_more_than_ten_lines() -> None:
    assert len(BLOCKS[0].splitlines()) <= 10
