"""docs/network.md says what is true: its Python runs, from top to bottom, as a reader would type it."""

from pathlib import Path

from tests.docs_code import BLOCK, run_blocks
from tests.service.program import ROOT

PAGE = ROOT / "docs" / "network.md"
BLOCKS = BLOCK.findall(PAGE.read_text())


def test_every_block_of_the_page_is_python_and_runs(tmp_path: Path) -> None:
    assert PAGE.read_text().count("```") == 2 * len(BLOCKS) > 0
    _, names = run_blocks(PAGE, tmp_path)
    assert names["flow"].shape == (2, 20)
    assert (tmp_path / "network.safetensors").exists()


def test_the_api_of_the_page_takes_no_more_than_ten_lines() -> None:
    assert len(BLOCKS[0].splitlines()) <= 10
