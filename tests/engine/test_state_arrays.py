"""A forecaster's state as arrays with names, there and back, on whatever module its arrays live."""

from types import ModuleType

import numpy as np
import pytest

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.state_arrays import arrays_of, forecaster_of, layout_id
from streamrnn.errors import SnapshotError
from tests.engine.records_by_hand import fed, wandering

SMALL = ForecastSettings(hidden=4, window=4, horizons=(1, 3))


def test_a_forecaster_of_its_arrays_goes_on_as_if_nothing_had_happened(xp: ModuleType) -> None:
    rows = wandering(3, 600, 6, forgotten=0.1)
    live = Forecaster(SMALL)
    fed(live, rows[:300])
    arrays = arrays_of(live)
    assert {type(value) for value in arrays.values()} == {np.ndarray}
    revived = forecaster_of(SMALL, layout_id(live), arrays, xp)
    np.testing.assert_array_equal(fed(revived, rows[300:], first=300), fed(live, rows[300:], first=300))
    assert revived.table.index.keys == live.table.index.keys


def test_another_layout_is_refused(xp: ModuleType) -> None:
    live = Forecaster(SMALL)
    with pytest.raises(SnapshotError, match="has layout 0123abcd, this version's is"):
        forecaster_of(SMALL, "0123abcd", arrays_of(live), xp)
