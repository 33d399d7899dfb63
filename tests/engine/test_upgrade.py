"""Snapshots that older versions have written are read, and gone on with as those versions would have."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from streamrnn.engine.snapshot import StoredSnapshot, restore
from tests.reference import make_snapshot
from tests.reference.make_snapshot import AFTER, BEFORE, STREAMS, steps

WRITTEN = sorted(Path(make_snapshot.__file__).parent.glob("snapshot-*.safetensors"))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_a_snapshot_of_an_older_version_goes_on_as_it_would_have_there(path: Path) -> None:
    stored = load_file(path)
    pages = {name.removeprefix("page."): page.tobytes() for name, page in stored.items() if name.startswith("page.")}
    forecaster, _, offset = restore(StoredSnapshot(stored["header"].tobytes(), pages))
    assert offset == BEFORE * STREAMS
    assert forecaster.table.season is not None
    made = forecaster.forecast(steps(BEFORE, BEFORE + AFTER))
    for name in ("mean", "lower", "upper"):  # of a scale of about .3
        np.testing.assert_allclose(getattr(made, name), stored[f"after.{name}"], rtol=0, atol=3e-5, err_msg=name)
    np.testing.assert_allclose(made.anomaly, stored["after.anomaly"], rtol=0, atol=1e-3)


def test_there_is_one() -> None:
    assert WRITTEN
