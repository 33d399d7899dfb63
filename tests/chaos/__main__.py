"""`python -m tests.chaos --seconds 600 --seed 1`: one session in the torture chamber, and what came of it."""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.chamber import Setting
from tests.chaos.session import session


def main() -> int:
    """0 where nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--rate", type=float, help="records a second (1000 with one broker, 300 with three)")
    parser.add_argument("--static", action="store_true", help="workers are static members of the group")
    parser.add_argument("--keep", type=Path, help="keep logs and files here, also where nothing was wrong")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it speaks of every fault
    setting = Setting(
        seconds=given.seconds,
        seed=given.seed,
        brokers=given.brokers,
        streams=given.streams,
        rate=given.rate or (1000.0 if given.brokers == 1 else 300.0),
        static=given.static,
    )
    folder = given.keep or Path(tempfile.mkdtemp(prefix="streamrnn-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(session(setting, folder))
    print(report)
    if report.wrong:
        print(f"logs and files are in {folder}")
    elif not given.keep:
        shutil.rmtree(folder)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
