"""Settings that are more than a number or a text: durations, sizes, horizons, secrets. Each knows its own text."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Self

MASK = "********"
LARGEST_HORIZON = 10_000
MOST_HORIZONS = 1_000

_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_BYTES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
_LONGEST_MS = 10 * 365 * 24 * _MILLISECONDS["h"]
_LARGEST_BYTES = 1 << 50
_QUANTITY = re.compile(r"([0-9]{1,16})\s?([A-Za-z]*)")
_RANGE = re.compile(r"([0-9]{1,9})\s*-\s*([0-9]{1,9})")


class Duration(float):
    """Seconds, a whole number of milliseconds above zero; its text is `100ms`, `10s`, `5m` or `1h`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `100ms 10s 5m 1h`. Raises ValueError with what was expected."""
        expected = "a duration above zero: a whole number and one of ms, s, m, h, such as 100ms or 10s"
        match = _QUANTITY.fullmatch(text)
        if match is None or (match[2] and match[2] not in _MILLISECONDS):
            raise ValueError(f"is not {expected}")
        if not match[2]:
            raise ValueError(f"has no unit, which leaves open what it counts. Give {expected}")
        milliseconds = int(match[1]) * _MILLISECONDS[match[2]]
        if not 1 <= milliseconds <= _LONGEST_MS:
            raise ValueError("is out of range. Give a duration of at least 1ms and at most ten years")
        return cls(milliseconds / 1000)

    @property
    def milliseconds(self) -> int:
        """The same as a whole number, as Kafka's settings want it."""
        return round(self * 1000)

    def text(self) -> str:
        """The shortest text that reads back as this duration."""
        return _in_largest_unit(self.milliseconds, _MILLISECONDS)


class Size(int):
    """Bytes, at least one; its text is `512B`, `64KiB`, `1MiB` or `2GiB`. A number without a unit is bytes."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `512B 64KiB 1MiB 2GiB 1048576`. Raises ValueError with what was expected."""
        match = _QUANTITY.fullmatch(text)
        if match is None or (match[2] and match[2] not in _BYTES):
            raise ValueError("is not a size: a whole number and one of B, KiB, MiB, GiB, such as 64KiB or 1MiB")
        size = int(match[1]) * _BYTES[match[2] or "B"]
        if not 1 <= size <= _LARGEST_BYTES:
            raise ValueError("is out of range. Give a size of at least 1B and at most 1048576GiB")
        return cls(size)

    def text(self) -> str:
        """The shortest text that reads back as this size."""
        return _in_largest_unit(int(self), _BYTES)


class Horizons(tuple[int, ...]):
    """How many steps ahead to forecast: sorted, each once, each from 1 to LARGEST_HORIZON.

    `24`, `[1, 24]`, `"1-24"` and `["1-3", 24]` are all read; no more than MOST_HORIZONS in all, because every
    horizon costs memory in every stream.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, given: str | Sequence[object]) -> Self:
        """Reads a number, a range, or a list of them. Raises ValueError with what was expected."""
        parts = [given] if isinstance(given, str) else given
        horizons: set[int] = set()
        for part in parts:
            horizons.update(_horizon_range(str(part)))
        if not horizons:
            raise ValueError("is empty. Give a number of steps, a list such as [1, 24], or a range such as 1-24")
        if len(horizons) > MOST_HORIZONS:
            raise ValueError(f"makes {len(horizons)} horizons. Give at most {MOST_HORIZONS}")
        return cls(sorted(horizons))

    def text(self) -> str | list[int]:
        """A range where that is shorter, else the list."""
        if len(self) > 2 and self[-1] - self[0] == len(self) - 1:
            return f"{self[0]}-{self[-1]}"
        return list(self)


class Secret(str):
    """A text that no log line, traceback or effective configuration shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)


def parse_float(text: str) -> float | None:
    """A finite number, or None where the text is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _horizon_range(text: str) -> Iterable[int]:
    expected = f"a number of steps from 1 to {LARGEST_HORIZON}, a list such as [1, 24], or a range such as 1-24"
    match = _RANGE.fullmatch(text) or re.fullmatch("(?P<first>[0-9]{1,9})", text)
    if match is None:
        raise ValueError(f"is not {expected}")
    first, last = int(match[1]), int(match[match.re.groups])
    if not 1 <= first <= last <= LARGEST_HORIZON:
        raise ValueError(f"is not {expected}")
    return range(first, last + 1)


def _in_largest_unit(amount: int, units: dict[str, int]) -> str:
    """The first unit, from large to small, that divides the amount."""
    unit = next(unit for unit, worth in units.items() if amount % worth == 0)
    return f"{amount // units[unit]}{unit}"
