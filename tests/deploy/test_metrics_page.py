"""The queries that docs/metrics.md tells to ask, judged by promtool."""

import re
from pathlib import Path

from tests.deploy.tools import ROOT, run, said


def test_every_query_of_the_page_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    told = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8").partition("## What to ask")[2]
    blocks = re.findall(r"(?:^    .*\n)+", told, re.MULTILINE)
    queries = [line for block in blocks for line in re.sub(r"\n +/", " /", block).splitlines()]
    assert len(queries) == 5
    rules = "".join(
        f"      - record: page:query:{at}\n        expr: {query.strip()}\n" for at, query in enumerate(queries)
    )
    (tmp_path / "queries.yml").write_text(f"groups:\n  - name: page\n    rules:\n{rules}")
    answer = run("promtool", "check", "rules", str(tmp_path / "queries.yml"))
    assert answer.returncode == 0, said(answer)
