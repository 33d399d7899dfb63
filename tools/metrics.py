"""The table of all metrics in docs/metrics.md.

python -m tools.metrics      writes it anew between its two marks
"""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from streamrnn.service.metrics import EVICTION_REASONS, STAGES, Metrics
from streamrnn.service.states import State

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
BEGIN, END = "<!-- metrics: begin -->", "<!-- metrics: end -->"
OURS = "streamrnn_"
LABELS = {  # those whose values are known beforehand
    "stage": STAGES,
    "reason": EVICTION_REASONS,
    "state": tuple(state.value for state in State),
}


def table() -> str:
    """All metrics that a process shows, in the order in which it shows them."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in text_string_to_metric_families(_everything().render().decode()):
        if family.name.startswith(OURS):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            shown = ", ".join(f"`{label}`" for label in sorted(labels, key=_first_the_partition))
            lines.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    lines += ["", "| label | values |", "|---|---|"]
    lines += [f"| `{label}` | {', '.join(f'`{value}`' for value in values)} |" for label, values in LABELS.items()]
    return "\n".join(lines)


def page() -> str:
    """The page with the table that is right now. Raises ValueError where a mark is missing."""
    before, found, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{PAGE}: {BEGIN} and {END} must stand around the table")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _first_the_partition(label: str) -> tuple[int, str]:
    first = ("topic", "partition")
    return (first.index(label) if label in first else len(first), label)


def _everything() -> Metrics:
    """Metrics of which each was set: one that never was shows no labels."""
    metrics = Metrics(version="", backend="", cell="", horizons=[1])
    of_partition = metrics.partition("", 0)
    of_partition.lag(0)
    of_partition.streams(0, 0)
    of_partition.state(State.RUNNING)
    of_partition.snapshot_written(0, 0.0)
    of_partition.snapshot_due(0.0)
    of_partition.learnt(0, 0, 0.0, 0.0)
    return metrics


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
