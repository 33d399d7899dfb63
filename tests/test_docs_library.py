"""docs/library.md: every block of Python in it does what it says."""

from pathlib import Path

import pytest

from tests.docs_code import run_blocks
from tests.service.program import ROOT


def test_the_page_about_the_library_runs_from_top_to_bottom(tmp_path: Path) -> None:
    said, _ = run_blocks(ROOT / "docs/library.md", tmp_path)
    assert "argument horizons: forecast.horizons: 0 is not a number of steps" in said
    assert '"12.5" stands where a number was expected' in said
    assert (tmp_path / "state.safetensors").is_file()


def test_a_block_that_fails_is_named_by_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\nx = 1\n```\n\n```python\nprint(x)\nprint(y)\n```\n")
    with pytest.raises(NameError) as caught:
        run_blocks(page, tmp_path)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 9)
