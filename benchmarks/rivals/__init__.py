"""What others would run on the same records: a process each, called and answering like benchmarks/pass_through.py.

`make rivals` installs them. Their commands are run in the repository's root, followed by
BOOTSTRAP INPUT OUTPUT GROUP RECORDS; each prints the seconds from its first record to its last commit, and its own
CPU seconds in that time.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ["make", "-C", str(ROOT), "rivals"]

_PYTHON = str(ROOT / ".venv-rivals" / "bin" / "python")
_JAVA = ROOT / "benchmarks" / "rivals" / "kafka_streams" / "target"

COMMANDS = {
    "quix_river": [_PYTHON, "-m", "benchmarks.rivals.quix_river"],
    "quix_river_11": [_PYTHON, "-m", "benchmarks.rivals.quix_river", "--lags", "11"],
    "quix_deep_river": [_PYTHON, "-m", "benchmarks.rivals.quix_deep_river"],
    "kafka_streams": ["java", "-cp", f"{_JAVA}/classes:{_JAVA}/dependency/*", "rivals.Count"],
}
