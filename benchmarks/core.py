"""How fast the recurrent core is beside PyTorch's CPU kernels, and beside the products of matrices in it alone.

    python -m benchmarks.core [--repeats 7] [--write docs/network.md]

A step is one step of a network of one layer; an update is truncated back-propagation through T = 16 steps by the
very functions that teach the daemon's recurrent expert, with clipping and Adam. float32, one thread each. The
programs take turns, each work several times; figures are medians of CPU time. sgemm is what the products in a work
take by themselves, all gates in one product, everything warm: nothing that multiplies with this BLAS is faster.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks import rivals
from benchmarks.stopwatch import Case

CELLS, HIDDEN, ROWS = ("gru", "lstm"), (32, 64, 128), (64, 256, 1024)
T, INPUTS, OUTPUTS, RATE = 16, 17, 1, 0.003  # steps of a window; as many inputs as the daemon's expert has
WORKS = ("step", "update")
WAYS = ("by cell", "by sequence")  # of PyTorch; the faster one counts
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
BEGIN, END = "<!-- core figures: begin -->", "<!-- core figures: end -->"


@dataclass(frozen=True, slots=True)
class Line:
    """One work in one case; microseconds."""

    case: Case
    work: str
    ours: float
    theirs: float
    way: str  # PyTorch's faster one
    sgemm: float

    @property
    def ratio(self) -> float:
        """Times as fast as PyTorch."""
        return self.theirs / self.ours

    @property
    def share(self) -> float:
        """Of sgemm's speed."""
        return self.sgemm / self.ours

    def __str__(self) -> str:
        measured = f"{self.ours:,.0f} | {self.theirs:,.0f} {self.way} | {self.ratio:.2f} | {self.share:.2f}"
        return f"| {self.work} | {' | '.join(map(str, self.case))} | {measured} |"


class Program:
    """One that answers questions (benchmarks/stopwatch.py)."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD,
            cwd=rivals.ROOT,
        )

    def ask(self, case: Case, work: str) -> float:
        """Microseconds a call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"case": case, "work": work}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(self.command)} ended with {self.process.wait()}")
        return 1e6 * float(answer)

    def stop(self) -> None:
        """No more questions."""
        self.process.communicate()


def lines(ours: Program, theirs: Program, repeats: int, cases: Iterable[Case]) -> Iterator[Line]:
    """Measure, in turns."""
    for case in cases:
        for work in WORKS:
            questions = {"ours": (ours, work), "sgemm": (ours, f"{work}'s products")}
            questions |= {way: (theirs, f"{work} {way}") for way in WAYS}
            answers = [{key: asked.ask(case, it) for key, (asked, it) in questions.items()} for _ in range(repeats)]
            median = {key: statistics.median(each[key] for each in answers) for key in questions}
            way = min(WAYS, key=median.__getitem__)
            yield Line(case, work, median["ours"], median[way], way, median["sgemm"])


def geometric_mean(numbers: Iterable[float]) -> float:
    """Of positive numbers."""
    return math.exp(statistics.fmean(map(math.log, numbers)))


def table(made: list[Line]) -> Iterator[str]:
    """Lines of Markdown: each case, and what they come to."""
    yield "| | cell | H | B | streamrnn, µs | PyTorch, µs | times as fast | of sgemm's speed |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    yield from map(str, made)
    yield ""
    yield "| geometric means | times as fast as PyTorch | of sgemm's speed at H = 128 |"
    yield "|---|---:|---:|"
    groups = [
        (f"{work}, {cell}", [each for each in made if (each.work, each.case[0]) == (work, cell)])
        for work in WORKS
        for cell in CELLS
    ]
    groups += [(work, [each for each in made if each.work == work]) for work in WORKS]
    for name, group in [*groups, ("all", made)]:
        shares = [each.share for each in group if each.case[1] == HIDDEN[-1]]
        share = f"{geometric_mean(shares):.2f}" if shares else ""
        yield f"| {name} | {geometric_mean(each.ratio for each in group):.2f} | {share} |"


def main() -> None:
    """Read the options, measure, print the table, and write it where it belongs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--pytorch", default=rivals.PYTHON, help="a Python that has PyTorch; else `make rivals` makes one"
    )
    parser.add_argument("--write", type=Path, help="a page to put the table into, between its marks")
    given = parser.parse_args()
    ours = Program([sys.executable, "-m", "benchmarks.core_works"])
    theirs = Program([given.pytorch, "-m", "benchmarks.rivals.pytorch_rnn"])
    made = []
    for line in lines(ours, theirs, given.repeats, product(CELLS, HIDDEN, ROWS)):
        print(line, file=sys.stderr, flush=True)
        made.append(line)
    ours.stop()
    theirs.stop()
    text = "\n".join(table(made))
    print(text)
    if given.write:
        before, _, rest = given.write.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        given.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
