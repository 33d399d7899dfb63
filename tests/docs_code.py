"""The Python of a page of the documentation, run as a reader would: from top to bottom, in one session."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_blocks(path: Path, folder: Path) -> tuple[str, dict[str, Any]]:
    """Run every ```python block of a page one after the other, in this folder: what they print, and their names.

    What a block raises is raised, with a traceback that names the page and the line in it.
    """
    page = path.read_text()
    session: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    blocks = list(BLOCK.finditer(page))
    assert blocks, f"{path} has no block of Python"
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        for block in blocks:
            line = page.count("\n", 0, block.start(1))
            exec(compile("\n" * line + block[1], path, "exec"), session)
    return printed.getvalue(), session
