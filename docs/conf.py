"""How the documents become a site: `make docs`. Nothing is fetched, neither when it is built nor when it is read."""

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

project = "streamrnn"
copyright = "the streamrnn authors, Apache-2.0"  # noqa: A001 (the name that Sphinx looks for)
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
highlight_language = "none"  # what is indented is of many kinds
html_theme = "furo"
html_title = "streamrnn"
html_show_sourcelink = False
html_copy_source = False
html_math_renderer = "mathml"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
suppress_warnings = ["myst.header"]

# the side bar: every document but the first page, which `index.md` is
NAVIGATION = {
    "First": ["tutorial", "reading", "comparison"],
    "How to": [
        "warm-start",
        "frozen",
        "many-features",
        "irregular",
        "exactly-once",
        "scaling",
        "feeding",
        "library",
        "gpu",
    ],
    "Running it": ["operations", "security", "runbook", "reliability", "performance", "accuracy"],
    "Reference": ["configuration", "formats", "metrics", "bad-input"],
    "How it works": ["mathematics", "recipe", "network", "design", "extending"],
    "Decisions": [
        "decisions/0001-outside-libraries",
        "decisions/0002-order-does-not-matter",
        "decisions/0003-a-failed-task-waits-a-second",
        "decisions/0004-experts-and-mixture-as-measured",
        "decisions/0005-surprise-on-each-series-own-scale",
        "decisions/0006-intervals-of-long-horizons",
        "decisions/0007-a-mark-beside-the-offset",
        "decisions/0008-old-offsets-are-refused",
        "decisions/0009-compiled-loops",
        "decisions/0010-numbers-as-long-as-they-are-worth",
        "decisions/0011-a-snapshot-is-copied-then-checked",
    ],
}


def with_navigation(app: Sphinx, document: str, source: list[str]) -> None:  # noqa: ARG001 (as Sphinx calls it)
    """Add the side bar to the first page as it is read; the file itself is read by people too."""
    if document == "index":
        for caption, names in NAVIGATION.items():
            listed = "\n".join(names)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    """An equation in a line, as MathML, which browsers draw by themselves."""
    translator.body.append(latex2mathml.tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def block_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    """An equation by itself."""
    made = latex2mathml.tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="equation">{made}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """What Sphinx calls first."""
    app.connect("source-read", with_navigation)
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
