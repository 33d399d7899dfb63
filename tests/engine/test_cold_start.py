"""Streams that appear late, real weather: never absurd, and soon better for what others have taught."""

from benchmarks.cold_start import beside_persistence, late_streams
from streamrnn.service.demo import weather


def test_streams_that_appear_late_begin_at_persistence_and_learn_faster_than_alone() -> None:
    table = weather()
    truth, made = late_streams(table.values[:3000, :10], table.times[:3000])
    for way in ("late", "trained"):
        assert beside_persistence(truth, made[way], 0, 5) < 1.05
        assert beside_persistence(truth, made[way], 0, 50) < 1.02
        assert beside_persistence(truth, made[way], 50, 400) < 0.95
        assert beside_persistence(truth, made[way], 50, 400) < beside_persistence(truth, made["alone"], 50, 400)
