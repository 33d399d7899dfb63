"""How many digits a number is worth: a forecast is written to a millionth of its interval's width.

Rounded numbers are whole numbers of some power of ten, which is what makes them short, and quick to write.
"""

from dataclasses import dataclass

import numpy as np

WORTH = 6  # places behind the first digit of an interval's width
OF_SCORES = 3, 4, 15  # places behind the first digit of 1 - score, and how many there are at least and at most
DIGITS = 15  # whole numbers up to 10^15 are exact in float64
POWERS = 10.0 ** np.arange(23)  # all that float64 holds exactly


@dataclass(slots=True)
class Decimals:
    """Numbers as whole / 10^places; whole is NaN where there is none, infinite where it cannot be written so."""

    whole: np.ndarray  # float64
    places: np.ndarray  # int64, 0 to 22, of the same shape

    def numbers(self, exact: np.ndarray) -> np.ndarray:
        """As float64, whose shortest text is the decimal; `exact` (of the same shape) where there is no decimal."""
        return np.where(np.isinf(self.whole), exact, self.whole / POWERS[self.places])


def of_forecasts(mean: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[Decimals, Decimals, Decimals]:
    """Those of three arrays of one shape, with the same places, so that lower <= mean <= upper is kept."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        width, size = upper - lower, np.maximum(np.abs(lower), np.abs(upper))
        most = DIGITS - 1 - np.floor(np.log10(size))
        worth = np.where(width > 0, WORTH - np.floor(np.log10(width)), most)
        places = np.clip(np.minimum(worth, most), 0, len(POWERS) - 1)
        lost = (worth > places) & (size > 0)
    places = np.nan_to_num(places).astype(np.int64)
    return _decimals(mean, places, lost), _decimals(lower, places, lost), _decimals(upper, places, lost)


def of_scores(scores: np.ndarray) -> Decimals:
    """Those of `surprise` and `anomaly`: what counts is how little they lack to 1."""
    worth, least, most = OF_SCORES
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.clip(worth - np.floor(np.log10(1.0 - scores)), least, most)
    return _decimals(scores, np.nan_to_num(places).astype(np.int64), np.zeros(1, bool))


def _decimals(values: np.ndarray, places: np.ndarray, lost: np.ndarray) -> Decimals:
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.rint(values * POWERS[places]) + 0.0  # -0.0 is written as 0
    return Decimals(np.where(lost | (np.abs(whole) > POWERS[DIGITS]), np.inf, whole), places)
