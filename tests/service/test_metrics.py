"""The metrics, read back as Prometheus reads them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

from streamrnn.service.histogram import ArrayHistogram
from streamrnn.service.metrics import Metrics
from streamrnn.service.states import State

BY_PARTITION = {"topic", "partition"}
# The contract: name in the exposition -> type, labels.
CONTRACT: dict[str, tuple[str, set[str]]] = {
    "records_consumed_total": ("counter", BY_PARTITION),
    "records_replayed_total": ("counter", BY_PARTITION),
    "forecasts_published_total": ("counter", BY_PARTITION),
    "dead_letters_total": ("counter", {*BY_PARTITION, "stage"}),
    "consumer_lag_records": ("gauge", BY_PARTITION),
    "streams": ("gauge", BY_PARTITION),
    "streams_evicted_total": ("counter", {*BY_PARTITION, "reason"}),
    "task_state": ("gauge", {*BY_PARTITION, "state"}),
    "task_restarts_total": ("counter", BY_PARTITION),
    "forecast_latency_seconds": ("histogram", {"le"}),
    "compute_seconds": ("histogram", {"le"}),
    "commit_seconds": ("histogram", {"le"}),
    "snapshot_seconds": ("histogram", {"le"}),
    "restore_seconds": ("histogram", {"le"}),
    "snapshot_bytes": ("gauge", BY_PARTITION),
    "snapshot_timestamp_seconds": ("gauge", BY_PARTITION),
    "snapshot_due_seconds": ("gauge", BY_PARTITION),
    "streams_frozen": ("gauge", BY_PARTITION),
    "learning_steps_total": ("counter", BY_PARTITION),
    "learning_rollbacks_total": ("counter", BY_PARTITION),
    "gradient_norm": ("gauge", BY_PARTITION),
    "loss": ("gauge", BY_PARTITION),
    "absolute_error_total": ("counter", {"horizon"}),
    "naive_absolute_error_total": ("counter", {"horizon"}),
    "scored_total": ("counter", {"horizon"}),
    "covered_total": ("counter", {"horizon"}),
    "build_info": ("gauge", {"version", "backend", "cell"}),
}


def metrics() -> Metrics:
    return Metrics(version="1.2.3", backend="numpy", cell="gru", horizons=[1, 24])


def families(of: Metrics) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(of.render().decode())}


def samples(of: Metrics, **labels: str) -> dict[str, float]:
    """Values by name, of samples that have these labels."""
    return {
        sample.name.removeprefix("streamrnn_"): sample.value
        for family in families(of).values()
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    }


def everything_once(of: Metrics) -> None:
    partition = of.partition("sensors", 3)
    partition.lag(7)
    partition.streams(10, 2)
    partition.state(State.RUNNING)
    partition.snapshot_written(4096, 1.7e9)
    partition.snapshot_due(10)
    partition.learnt(5, 1, 0.5, 0.25)


def test_names_types_and_labels_are_those_of_the_contract() -> None:
    told = metrics()
    everything_once(told)
    found: dict[str, tuple[str, set[str]]] = {}
    for family in families(told).values():
        if family.name.startswith("process_"):  # the client library's
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels: set[str] = set().union(*(sample.labels for sample in family.samples))
        found[name] = (family.type, labels)
    assert found == {f"streamrnn_{name}": kind for name, kind in CONTRACT.items()}


def test_counters_of_a_partition_start_at_zero() -> None:
    told = metrics()
    told.partition("sensors", 0)
    assert samples(told, topic="sensors", partition="0") == {
        name: 0.0 for name, (kind, labels) in CONTRACT.items() if kind == "counter" and labels >= BY_PARTITION
    }


def test_what_a_slice_tells_is_added_up() -> None:
    told = metrics()
    partition = told.partition("sensors", 0)
    for _ in range(2):
        partition.consumed(4096)
        partition.replayed(10)
        partition.published(4090)
        partition.dead_lettered("decode", 6)
        partition.evicted("ttl", 3)
        partition.restarted()
        partition.learnt(4, 1, None, None)
    found = samples(told, partition="0")
    assert (found["records_consumed_total"], found["records_replayed_total"]) == (8192, 20)
    assert (found["forecasts_published_total"], found["task_restarts_total"]) == (8180, 2)
    assert (found["learning_steps_total"], found["learning_rollbacks_total"]) == (8, 2)
    assert samples(told, stage="decode") == {"dead_letters_total": 12}
    assert samples(told, reason="ttl") == {"streams_evicted_total": 6}


def test_a_task_is_in_one_state() -> None:
    told = metrics()
    for state in (State.CREATED, State.FENCING):
        told.partition("sensors", 0).state(state)
    one_hot = {state: samples(told, state=state.value)["task_state"] for state in State}
    assert [state for state, value in one_hot.items() if value] == [State.FENCING]


def test_a_dropped_partition_keeps_its_counters_and_loses_its_gauges() -> None:
    told = metrics()
    everything_once(told)
    told.partition("sensors", 3).consumed(5)
    told.partition("sensors", 4).lag(1)
    told.drop("sensors", 3)
    told.drop("sensors", 3)
    left = samples(told, partition="3")
    assert left["records_consumed_total"] == 5
    assert not [name for name in left if not name.endswith("_total")]
    assert samples(told, partition="4")["consumer_lag_records"] == 1
    told.partition("sensors", 3).consumed(1)
    assert samples(told, partition="3")["records_consumed_total"] == 6


def test_scores_are_by_horizon_and_what_is_not_finite_is_left_out() -> None:
    told = metrics()
    told.scored([2, 1], [1, 1], np.array([0.5, 2.0]), np.array([1.0, np.nan]))
    told.scored([1, 0], [1, 0], [0.25, np.inf], [1.0, 0.0])
    assert samples(told, horizon="1") == {
        "scored_total": 3,
        "covered_total": 2,
        "absolute_error_total": 0.75,
        "naive_absolute_error_total": 2,
    }
    assert samples(told, horizon="24")["absolute_error_total"] == 2
    assert samples(told, horizon="24")["naive_absolute_error_total"] == 0


def test_the_build_is_in_the_labels() -> None:
    assert samples(metrics(), version="1.2.3", backend="numpy", cell="gru") == {"build_info": 1}


def test_a_label_may_hold_any_text() -> None:
    told = metrics()
    told.partition('a"\\\nb', 0).consumed(1)
    assert samples(told, topic='a"\\\nb')["records_consumed_total"] == 1


def test_two_processes_worth_of_metrics_share_nothing() -> None:
    first, second = metrics(), metrics()
    first.partition("sensors", 0).consumed(1)
    assert "sensors" not in second.render().decode()
    assert not [name for name in REGISTRY._names_to_collectors if name.startswith("streamrnn")]


def test_latency_buckets_go_from_5_ms_to_a_minute() -> None:
    family = families(metrics())["streamrnn_forecast_latency_seconds"]
    bounds = [float(sample.labels["le"]) for sample in family.samples if sample.name.endswith("_bucket")]
    assert (bounds[0], bounds[-2], bounds[-1]) == (0.005, 60.0, float("inf"))


# The histogram

BOUNDS = (0.25, 0.5, 1.0)


def buckets(histogram: ArrayHistogram) -> tuple[list[float], float, float]:
    (family,) = histogram.collect()
    counts = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
    by_name = {sample.name: sample.value for sample in family.samples}
    return counts, by_name["h_count"], by_name["h_sum"]


@given(st.lists(st.lists(st.one_of(st.sampled_from([0.25, 0.5, 1.0]), st.floats(0, 3)), max_size=20), max_size=5))
def test_bucket_counts_are_the_numbers_up_to_each_bound(slices: list[list[float]]) -> None:
    histogram = ArrayHistogram("h", "doc", BOUNDS, CollectorRegistry())
    for values in slices:
        histogram.observe(np.array(values))
    everything = [value for values in slices for value in values]
    counts, count, total = buckets(histogram)
    assert counts == [sum(value <= bound for value in everything) for bound in (*BOUNDS, float("inf"))]
    assert count == len(everything)
    assert total == pytest.approx(sum(everything))


def test_one_number_is_observed_like_an_array_of_one() -> None:
    histogram = ArrayHistogram("h", "doc", BOUNDS, CollectorRegistry())
    histogram.observe(0.3)
    assert buckets(histogram) == ([0, 1, 1, 1], 1, 0.3)


def test_a_negative_latency_counts_as_zero_and_nan_not_at_all() -> None:
    histogram = ArrayHistogram("h", "doc", BOUNDS, CollectorRegistry())
    histogram.observe([-1.0, np.nan, np.inf])
    assert buckets(histogram) == ([1, 1, 1, 1], 1, 0.0)
