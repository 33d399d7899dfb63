"""JSON's common forms as loops over bytes: messages in, numbers of forecasts out.

`read` knows `12.5`, `{"value": 12.5, "time": 1767225600000}` and `{"values": [1.2, 3.4]}`, and stops at all else,
which msgspec then reads. A whole number of up to 15 digits and a power of ten, both exact in float64, become the
nearest float64 by one multiplication or division (Clinger 1990); longer numbers are all else.
"""

import math

import numpy as np

from streamrnn.core.backend import Array
from streamrnn.engine.compiled.compiler import compiled
from streamrnn.engine.digits import DIGITS, POWERS

ZERO, NINE, MINUS, DOT, COMMA, COLON = (ord(char) for char in "09-.,:")
OPEN_BRACE, CLOSE_BRACE, OPEN, CLOSE, E = (ord(char) for char in "{}[]e")
PLUS, LOWER = ord("+"), 0x20  # E | LOWER is e
LONGEST_POWER = len(POWERS) - 1
TENS = 10 ** np.arange(19)
ONE, TEN = np.uint64(1), np.uint64(10)
VALUE, VALUES, TIME = (np.frombuffer(text, np.uint8) for text in (b'"value"', b'"values"', b'"time"'))
NULL, TRUE, FALSE = (np.frombuffer(text, np.uint8) for text in (b"null", b"true", b"false"))
BETWEEN, BETWEEN_LISTS = (np.frombuffer(text, np.uint8) for text in (b",", b"],["))
MOST_BYTES = 25  # of a number


@compiled
def read(text: Array, ends: Array, values: Array, times: Array, nested: Array) -> int:
    """How many messages are of the common forms, from the first on; what they hold goes into the columns.

    text (bytes), ends (R,); values (R, D), times (R,) where a message has its own, nested (R,): a list of values.
    """
    start = 0
    for i in range(len(ends)):
        if not _message(text, start, ends[i], i, values, times, nested):
            return i
        start = ends[i]
    return len(ends)


@compiled
def _message(text: Array, at: int, end: int, i: int, values: Array, times: Array, nested: Array) -> bool:
    D = values.shape[1]
    at = _blank(text, at, end)
    if at == end:
        return False
    if text[at] != OPEN_BRACE:
        at, values[i, 0] = _number(text, at, end)
        return D == 1 and at > 0 and _blank(text, at, end) == end
    found = timed = False
    while True:
        at = _blank(text, at + 1, end)  # behind the brace or a comma
        of_time, of_list = _is(text, at, end, TIME), _is(text, at, end, VALUES)
        if of_time:
            at += len(TIME)
        elif of_list:
            at += len(VALUES)
        elif _is(text, at, end, VALUE):
            at += len(VALUE)
        else:
            return False
        if timed if of_time else found:
            return False  # twice
        at = _blank(text, at, end)
        if at == end or text[at] != COLON:
            return False
        at = _blank(text, at + 1, end)
        if of_time:
            timed = True
            at, times[i] = _whole(text, at, end)
        elif of_list:
            found = nested[i] = True
            at = _list(text, at, end, values[i])
        else:
            found = D == 1
            nested[i] = False
            at, values[i, 0] = _number(text, at, end)
        if at < 0:
            return False
        at = _blank(text, at, end)
        if at == end:
            return False
        if text[at] == CLOSE_BRACE:
            return found and _blank(text, at + 1, end) == end
        if text[at] != COMMA:
            return False


@compiled
def _blank(text: Array, at: int, end: int) -> int:
    """The first position from here on that is no white space."""
    while at < end and (text[at] == 0x20 or text[at] == 0x0A or text[at] == 0x0D or text[at] == 0x09):
        at += 1
    return at


@compiled
def _is(text: Array, at: int, end: int, word: Array) -> bool:
    if end - at < len(word):
        return False
    same = True
    for k in range(len(word)):
        same &= text[at + k] == word[k]
    return same


@compiled
def _list(text: Array, at: int, end: int, row: Array) -> int:
    """Numbers in brackets, as many as the row takes: where they end, -1 where they are not that."""
    if at == end or text[at] != OPEN:
        return -1
    for d in range(len(row)):
        at, row[d] = _number(text, _blank(text, at + 1, end), end)  # behind the bracket or a comma
        if at < 0:
            return -1
        at = _blank(text, at, end)
        if at == end or text[at] != (COMMA if d < len(row) - 1 else CLOSE):
            return -1
    return at + 1


@compiled
def _digits(text: Array, at: int, end: int, number: int) -> tuple[int, int]:
    """Where the digits from here on end, and the number with them behind it, which more than 18 do not fit into."""
    while at < end and ZERO <= text[at] <= NINE:
        number = 10 * number + np.int64(text[at]) - ZERO  # type: ignore[assignment]
        at += 1
    return at, number


@compiled
def _whole(text: Array, at: int, end: int) -> tuple[int, int]:
    """Where a whole number ends, -1 where it is something else, and the number."""
    negative = at < end and text[at] == MINUS
    at += negative
    first = at
    at, number = _digits(text, at, end, 0)
    if at == first or at - first > DIGITS or (text[first] == ZERO and at > first + 1):
        return -1, 0
    if at < end and (text[at] == DOT or text[at] | LOWER == E):
        return -1, 0
    return at, -number if negative else number


@compiled
def _number(text: Array, at: int, end: int) -> tuple[int, float]:
    """Where a number or null ends, -1 where it is something else or needs more care, and what it is, NaN for null."""
    if _is(text, at, end, NULL):
        return at + len(NULL), math.nan
    negative = at < end and text[at] == MINUS
    at += negative
    first, power = at, 0
    at, number = _digits(text, at, end, 0)
    count = at - first
    if count == 0 or (text[first] == ZERO and count > 1):
        return -1, 0.0
    if at < end and text[at] == DOT:
        point = at + 1
        at, number = _digits(text, point, end, number)
        power = point - at
        count -= power
        if power == 0:
            return -1, 0.0
    if at < end and text[at] | LOWER == E:
        at += 1
        lowered = at < end and text[at] == MINUS
        if at < end and (lowered or text[at] == PLUS):
            at += 1
        first = at
        at, raised = _digits(text, at, end, 0)
        if at == first or at - first > 3:
            return -1, 0.0
        power += -raised if lowered else raised
    if count > DIGITS or abs(power) > LONGEST_POWER:
        return -1, 0.0
    size = number * POWERS[power] if power >= 0 else number / POWERS[-power]
    return at, -size if negative else size


@compiled
def write(
    text: Array,
    keys: Array,
    key_ends: Array,
    pieces: Array,
    piece_ends: Array,
    integers: Array,
    wholes: Array,
    places: Array,
    scores: Array,
    score_places: Array,
    warm: Array,
    nested: bool,
    ends: Array,
) -> None:
    """The lines of forecasts one behind the other: pieces of text that are the same in all, and numbers between.

    text: bytes enough; keys, pieces: bytes, with the end of each; integers (M, 3): time, model, offset; wholes (3, M,
    P, D) and places (M, P, D) of mean, lower, upper; scores and score_places (2, M) of anomaly and surprise, see
    digits.Decimals; warm (M,). Fills ends (M,) of the lines.
    """
    _, M, P, D = wholes.shape
    at = start = 0
    for i in range(M):
        at = _copied(text, at, pieces, 0, piece_ends[0])
        at = _copied(text, at, keys, start, key_ends[i])
        start = key_ends[i]
        at = _copied(text, at, pieces, piece_ends[0], piece_ends[1])
        at = _written(text, at, integers[i, 0])
        for column in range(3):
            at = _copied(text, at, pieces, piece_ends[column + 1], piece_ends[column + 2])
            for p in range(P):
                if p:
                    between = BETWEEN_LISTS if nested else BETWEEN
                    at = _copied(text, at, between, 0, len(between))
                for d in range(D):
                    if d:
                        text[at] = COMMA
                        at += 1
                    at = _decimal(text, at, wholes[column, i, p, d], places[i, p, d])
        for column in range(2):
            at = _copied(text, at, pieces, piece_ends[column + 4], piece_ends[column + 5])
            at = _decimal(text, at, scores[column, i], score_places[column, i])
        at = _copied(text, at, pieces, piece_ends[6], piece_ends[7])
        word = TRUE if warm[i] else FALSE
        at = _copied(text, at, word, 0, len(word))
        at = _copied(text, at, pieces, piece_ends[7], piece_ends[8])
        at = _written(text, at, integers[i, 1])
        at = _copied(text, at, pieces, piece_ends[8], piece_ends[9])
        at = _written(text, at, integers[i, 2])
        at = _copied(text, at, pieces, piece_ends[9], piece_ends[10])
        ends[i] = at


@compiled
def _copied(text: Array, at: int, source: Array, start: int, end: int) -> int:
    """The source's bytes from start to end; where they end in the text."""
    to, of = (
        np.uint64(at),
        np.uint64(start),
    )  # an index that may be negative is looked at each time: four times as long
    for k in range(np.uint64(end - start)):
        text[to + k] = source[of + k]
    return at + end - start


@compiled
def _written(text: Array, at: int, number: int) -> int:
    """A whole number of up to 18 digits."""
    if number < 0:
        text[at] = MINUS
        at, number = at + 1, -number
    end = at + _length(number)
    _counted_down(text, end, np.uint64(number), end - at)
    return end


@compiled
def _decimal(text: Array, at: int, whole: float, places: int) -> int:
    """A digit or more on both sides of the point of whole / 10^places, no 0 that says nothing; null for NaN."""
    if whole != whole:
        return _copied(text, at, NULL, 0, len(NULL))
    if whole < 0:
        text[at] = MINUS
        at, whole = at + 1, -whole
    number = np.uint64(whole)
    while places > 1 and number % TEN == 0:
        number //= TEN
        places -= 1
    if places == 0:
        number, places = TEN * number, 1
    length = max(_length(int(number)), places + 1)
    left = _counted_down(text, at + length + 1, number, places)
    text[at + length - places] = DOT
    _counted_down(text, at + length - places, left, length - places)
    return at + length + 1


@compiled
def _counted_down(text: Array, end: int, number: np.uint64, digits: int) -> np.uint64:
    """Write the last digits of a number up to this end; what is left of it."""
    place = np.uint64(end)
    for _ in range(digits):
        place -= ONE
        text[place] = ZERO + number % TEN
        number //= TEN
    return number


@compiled
def _length(number: int) -> int:
    """Of a number from 0 on, in digits."""
    made = 1
    while made < len(TENS) and TENS[made] <= number:
        made += 1
    return made
