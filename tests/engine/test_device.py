"""A forecaster whose state is on a device, imagined as it is: the same forecasts, with one copy each way a batch."""

import numpy as np
import pytest

from streamrnn.core.season import Season
from streamrnn.engine import forecaster as module
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import SnapshotWriter, StoredSnapshot, restore
from streamrnn.engine.waves import in_waves
from streamrnn.records import RecordBatch, single_steps
from tests.engine.worlds import daily, forecasts, part, walk
from tests.strict_arrays import strict, traffic

HOUR, N = 3_600_000, 40
PLAIN = ForecastSettings(hidden=8)
WIDE = ForecastSettings(hidden=8, features=2, horizons=(1, 4), readout="exact", cell="lstm")


@pytest.fixture(autouse=True)
def _without_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops round differently."""
    monkeypatch.setattr(module, "fastest_way", lambda _: in_waves)


def hour(t: int, features: int, random: np.random.Generator) -> RecordBatch:
    """One step of N streams, with gaps."""
    x = np.sin(t * 2 * np.pi / 24) + 0.1 * random.normal(size=(N, features))
    x[random.random(x.shape) < 0.05] = np.nan
    keys = [b"%d" % i for i in range(N)]
    return single_steps(keys, np.full(N, t), np.full(N, t * HOUR), x, nested=features > 1)


@pytest.mark.parametrize("settings", [PLAIN, WIDE], ids=["plain", "wide"])
def test_a_steady_batch_goes_to_the_device_in_one_copy_and_comes_back_in_one(settings: ForecastSettings) -> None:
    forecaster, random = Forecaster(settings, strict), np.random.default_rng(0)
    between, learning = set(), set()
    for t in range(240):
        boundaries, updates = forecaster.boundaries, forecaster.model.updates
        traffic.into = traffic.out = 0
        forecaster.forecast(hour(t, settings.features, random))
        copies = traffic.into, traffic.out
        if t > 200:
            if forecaster.boundaries == boundaries:
                between.add(copies)
            elif forecaster.model.updates == updates + 1:
                learning.add(copies)
    assert forecaster.table.season == Season(24, 24.0 * HOUR, 24)
    assert between == {(1, 1)}
    assert max(out for _, out in learning) <= 12  # with a learning boundary and one update at it
    assert max(into for into, _ in learning) <= 6


@pytest.mark.parametrize("settings", [PLAIN, WIDE], ids=["plain", "wide"])
@pytest.mark.parametrize("world", [walk, daily])
def test_forecasts_are_those_of_numpy(settings: ForecastSettings, world: type) -> None:
    batch = world(3, 500, 5, settings.features)
    made, expected = (forecasts(Forecaster(settings, xp), batch) for xp in (strict, np))
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("written", "read"), [(np, strict), (strict, np)], ids=["to a device", "from a device"])
def test_a_snapshot_of_one_backend_is_gone_on_from_on_the_other(written: object, read: object) -> None:
    batch, at = walk(5, 500, 5), 303
    live = Forecaster(PLAIN, written)  # type: ignore[arg-type]
    live.forecast(part(batch, 0, at))
    pages = SnapshotWriter(live).capture(at)
    revived, writer, offset = restore(StoredSnapshot(pages.header, pages.pages), read)  # type: ignore[arg-type]
    assert (revived.xp, offset) == (read, at)
    again = writer.capture(at)
    assert again.header == pages.header
    assert not [key for key in again.pages if again.pages[key] != pages.pages[key]]
    rest = part(batch, at, 500)
    np.testing.assert_allclose(forecasts(revived, rest), forecasts(live, rest), rtol=0, atol=1e-6)


def test_no_number_that_is_none_reaches_what_streams_share() -> None:
    for xp in (np, strict):
        forecaster = Forecaster(PLAIN, xp)
        forecaster.forecast(walk(6, 300, 5))
        forecaster.table.slabs["feature_square"][2] = xp.nan
        forecaster.forecast(part(walk(6, 600, 5), 300, 600))
        assert np.isfinite(forecaster.model.readouts.shared.moments).all()
        assert forecaster.progress().learnt.rollbacks > 0
