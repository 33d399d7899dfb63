"""The page of metrics names those that there are, and no others."""

import re
from pathlib import Path

from tools.metrics import PAGE, page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_what_a_process_shows() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "metrics.md is stale: python -m tools.metrics"


def test_every_metric_that_a_page_names_is_in_the_table() -> None:
    known = set(re.findall(r"^\| `(streamrnn_\w+)` \|", page(), re.MULTILINE))
    assert known
    for document in DOCS.rglob("*.md"):
        for name in re.findall(r"\bstreamrnn_[a-z_]+\b", document.read_text(encoding="utf-8")):
            assert re.sub(r"(_seconds)_(bucket|sum|count)$", r"\1", name) in known, f"{document.name}: {name}"
