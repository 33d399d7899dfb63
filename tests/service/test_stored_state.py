"""What is made of a stored state: as a task would judge it, before any task does."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import FORMAT, SnapshotWriter, StoredSnapshot, sealed
from streamrnn.engine.state_arrays import arrays_of
from streamrnn.service.stored_state import NONE, REFUSED, SOUND, Report, compared, judged
from streamrnn.transport.contract import PartitionId, StoredState
from tests.engine.records_by_hand import fed
from tests.engine.worlds import walk

OURS = ForecastSettings(hidden=4, window=8)
PLACE = PartitionId("sensors", 3)


def stored(of: ForecastSettings = OURS, offset: int = 300, **header: Any) -> StoredSnapshot:
    """The snapshot of a task that has read nothing; header: what is written into it instead."""
    pages = SnapshotWriter(Forecaster(of)).capture(offset)
    return StoredSnapshot(sealed(json.loads(pages.header.partition(b"\n")[0]) | header), pages.pages)


def report(
    snapshot: StoredSnapshot | None, committed: int | None = 300, log: tuple[int, int] | None = (0, 400)
) -> Report:
    return judged(PLACE, StoredState(committed, log, snapshot), OURS, "earliest")


def test_what_a_task_takes_over_without_a_word_is_sound() -> None:
    made = report(stored())
    assert (made.verdict, made.remark, made.streams) == (SOUND, None, 0)
    assert made.facts is not None and made.facts.offset == 300


@pytest.mark.parametrize(
    ("committed", "log", "verdict", "told"),
    [
        (None, (0, 400), SOUND, "the group's offset is gone; going on at the snapshot's 300"),
        (200, (0, 400), REFUSED, "the committed offset is 200, before the snapshot's 300"),
        (300, (0, 200), REFUSED, "but the log ends at 200"),
        (350, (310, 400), SOUND, "10 offsets after the snapshot's 300 are no longer in the log"),
        (200, None, SOUND, None),
    ],
)
def test_its_place_is_judged_as_a_task_would(
    committed: int | None, log: tuple[int, int] | None, verdict: str, told: str | None
) -> None:
    made = report(stored(), committed, log)
    assert made.verdict == verdict
    assert (told or "") in (made.remark or "")
    assert (made.remark is None) == (told is None)


def test_none_at_all_is_no_refusal() -> None:
    assert report(None, None).verdict == NONE
    made = report(None)
    assert made.verdict == NONE
    assert "rebuilding it" in (made.remark or "")


@pytest.mark.parametrize(
    ("snapshot", "told", "readable"),
    [
        (StoredSnapshot(b"\x00\x01", {}), "not one of streamrnn's", False),
        (stored(format=FORMAT + 1), f"format {FORMAT + 1}, this version reads format {FORMAT}", False),
        (stored(layout="0"), "layout 0", True),
        (stored(pages=["slot/levels/0"]), "header has ['slot/levels/0'] as pages", False),
        (stored(settings=7), "header has 7 as settings", False),
        (stored(settings={"hidden": 4}), "settings differ from this version's in cell, clip_norm", True),
        (stored(replace(OURS, hidden=8, cell="tanh")), "another model.cell, model.hidden", True),
    ],
)
def test_a_foreign_one_is_refused_with_the_reason_and_what_can_still_be_read(
    snapshot: StoredSnapshot, told: str, readable: bool
) -> None:
    made = report(snapshot)
    assert made.verdict == REFUSED
    assert (made.remark or "").startswith("sensors[3]: ")
    assert told in (made.remark or "")
    assert (made.facts is not None) == readable


def test_partitions_with_other_settings_have_a_column_of_their_own() -> None:
    other = replace(OURS, coverage=0.5)
    settings = [OURS, OURS, other, OURS, replace(OURS, hidden=8)]
    reports = [
        replace(report(stored(given)), partition=PartitionId("sensors", i)) for i, given in enumerate(settings)
    ]
    rows = {row["setting"]: list(row.values())[1:] for row in compared(reports, other)}
    columns = list(compared(reports, other)[0])
    assert columns[1:4] == ["snapshot of 0-1, 3", "snapshot of 2", "snapshot of 4"]
    assert rows["forecast.coverage"] == ["0.9", "0.5", "0.9", "0.5", "adopted"]
    assert rows["model.hidden"] == ["4", "4", "8", "4", "refused"]
    assert rows["learning.window"] == ["8", "8", "8", "8", ""]


def test_a_setting_that_only_one_version_knows_is_shown_too() -> None:
    told = {"hidden": 4, "momentum": 0.9}
    rows = {row["setting"]: list(row.values())[1:] for row in compared([report(stored(settings=told))], OURS)}
    assert rows["momentum"][:2] == ["0.9", "-"]
    assert rows["model.cell"][:2] == ["-", "gru"]


def test_without_a_snapshot_there_is_nothing_to_compare() -> None:
    assert compared([report(None)], OURS) == []


def test_the_arrays_of_a_state_keep_the_rows_of_freed_slots() -> None:
    forecaster = Forecaster(OURS)
    fed(forecaster, [(b"a", 1.0), ("long-é".encode(), 3.0), (b"b", 5.0), (b"a", None)])
    arrays = arrays_of(forecaster)
    assert arrays["slot/live"].tolist() == [False, True, True]
    assert arrays["stream_id_bytes"].tolist() == [0, 7, 1]
    assert arrays["stream_ids"].shape == (3, 7)
    assert bytes(arrays["stream_ids"][1]) == "long-é".encode()
    assert arrays["slot/origin_value"][1:, 0].tolist() == [3.0, 5.0]


def test_the_arrays_of_a_state_have_a_row_for_each_feature() -> None:
    forecaster, batch = Forecaster(replace(OURS, features=2)), walk(1, 40, 3, features=2, missing=0)
    forecaster.forecast(batch)
    arrays = arrays_of(forecaster)
    last = dict(zip(batch.keys, batch.values, strict=True))
    ids = [bytes(row[:n]) for row, n in zip(arrays["stream_ids"], arrays["stream_id_bytes"], strict=True)]
    assert np.array_equal(arrays["slot/origin_value"][:, 0].reshape(-1, 2), [last[key] for key in ids])
