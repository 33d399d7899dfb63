"""`python -m tests.fuzz --minutes 5`: every target for so long, with other inputs each time; prints the counts."""

import argparse
import time

from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.targets import TARGETS

ROUND = 500  # inputs between two looks at the clock


def main() -> None:
    """Fuzz until the time is over; the first input that breaks a promise is shown, made small, and ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for each target")
    parser.add_argument("--target", choices=list(TARGETS))
    given_options = parser.parse_args()
    for name in [given_options.target] if given_options.target else TARGETS:
        target, inputs = TARGETS[name]
        end, count, round_ = time.monotonic() + 60 * given_options.minutes, 0, 0

        def counted(value: object) -> None:
            nonlocal count
            count += 1
            target(value)  # noqa: B023

        while time.monotonic() < end:
            limits = settings(
                max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck)
            )
            seed(time.time_ns() + round_)(limits(given(inputs)(counted)))()
            round_ += 1
        print(f"{name}: {count:,} inputs, every promise kept", flush=True)


if __name__ == "__main__":
    main()
