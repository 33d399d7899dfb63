"""What the network is for: a forecast that rests on an input further back than any lag, carried by the hidden state.

Every stream sends a cue of +1 or -1 by chance, 13 quiet steps, the cue once more as an echo, and 5 quiet steps.
The readout sees 11 differences, so before the echo only the hidden state knows which sign it will have, and when.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.layout import DIFFERENCES
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import SnapshotWriter, StoredSnapshot, restore
from streamrnn.records import RecordBatch, single_steps

STREAMS, TRAINING, SHOWN = 48, 120, 4  # streams, and cycles of each
QUIET, PERIOD, NOISE = 13, 20, 0.02


@dataclass
class Echoes:
    """The last forecasts before echoes, (SHOWN · STREAMS,) each."""

    truth: np.ndarray
    intact: np.ndarray
    erased: np.ndarray  # the hidden state was set to zero just before
    swapped: np.ndarray  # every stream was given the hidden state of its neighbour
    neighbour: np.ndarray  # the neighbour's cue


def steps(x: np.ndarray, first: int) -> RecordBatch:
    T, N = x.shape
    times = np.repeat((first + np.arange(T)) * 1000, N)
    return single_steps([b"%d" % i for i in range(N)] * T, np.arange(T * N), times, x.reshape(-1, 1), nested=False)


def twin(forecaster: Forecaster) -> Forecaster:
    """A copy by way of a snapshot."""
    pages = SnapshotWriter(forecaster).capture(0)
    return restore(StoredSnapshot(pages.header, pages.pages))[0]


@pytest.fixture(scope="module")
def echoes() -> Echoes:
    random = np.random.default_rng(0)
    cues = random.choice([-1.0, 1.0], (TRAINING + SHOWN, STREAMS))
    x = np.zeros((TRAINING + SHOWN, PERIOD, STREAMS))
    x[:, 0] = x[:, QUIET + 1] = cues
    x = x.reshape(-1, STREAMS) + NOISE * random.normal(size=(len(cues) * PERIOD, STREAMS))

    forecaster, at = Forecaster(ForecastSettings()), TRAINING * PERIOD
    forecaster.forecast(steps(x[:at], 0))
    shown: dict[str, list[np.ndarray]] = {"intact": [], "erased": [], "swapped": []}
    for start in range(at, len(x), PERIOD):
        before = start + QUIET  # the last quiet step: its forecast is of the echo
        forecaster.forecast(steps(x[start:before], start))
        for name, made in shown.items():
            copy = twin(forecaster)
            hidden = copy.table.slabs["hidden"][:STREAMS]
            if name == "erased":
                hidden[:] = 0.0
            elif name == "swapped":
                hidden[:] = copy.xp.roll(hidden, 1, axis=0)
            made.append(copy.forecast(steps(x[before : before + 1], before)).mean[:, 0, 0])
        forecaster.forecast(steps(x[before : start + PERIOD], before))
    truth = cues[TRAINING:]
    columns = {name: np.concatenate(made) for name, made in shown.items()}
    return Echoes(truth.ravel(), **columns, neighbour=np.roll(truth, 1, axis=1).ravel())


def test_the_cue_lies_further_back_than_any_lag_of_the_readout() -> None:
    assert QUIET + 1 > DIFFERENCES + 1


def test_an_echo_is_forecast_in_sign_and_size(echoes: Echoes) -> None:
    assert (np.sign(echoes.intact) == echoes.truth).mean() > 0.99
    assert np.mean((echoes.intact - echoes.truth) ** 2) < 0.1  # persistence: 1


def test_without_its_hidden_state_the_forecaster_knows_neither(echoes: Echoes) -> None:
    assert (np.sign(echoes.erased) == echoes.truth).mean() < 0.8
    assert np.mean((echoes.erased - echoes.truth) ** 2) > 0.7


def test_with_a_neighbour_s_hidden_state_the_neighbour_s_echo_is_forecast(echoes: Echoes) -> None:
    assert (np.sign(echoes.swapped) == echoes.neighbour).mean() > 0.99
    assert np.mean((echoes.swapped - echoes.neighbour) ** 2) < 0.1
