"""What is told to Prometheus: every metric with its name, labels and unit. Written per slice, never per record."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from streamrnn.service.histogram import ArrayHistogram
from streamrnn.service.states import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STAGES = ("decode", "validate", "forecast", "encode")
EVICTION_REASONS = ("max_streams", "ttl")

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SLICE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_COMMIT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SNAPSHOT = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
_PARTITION = ("topic", "partition")


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self, *, version: str, backend: str, cell: str, horizons: Sequence[int]) -> None:
        # Else every counter gets a gauge beside it that says when it was made, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # CPU, memory and start of the process, under the names that all have
        self._partitions: dict[tuple[str, int], PartitionMetrics] = {}

        def counter(name: str, documentation: str, labels: Sequence[str] = _PARTITION) -> Counter:
            return Counter(f"streamrnn_{name}", documentation, labels, registry=registry)

        def gauge(name: str, documentation: str, labels: Sequence[str] = _PARTITION) -> Gauge:
            return Gauge(f"streamrnn_{name}", documentation, labels, registry=registry)

        def histogram(name: str, documentation: str, bounds: Sequence[float]) -> ArrayHistogram:
            return ArrayHistogram(f"streamrnn_{name}", documentation, bounds, registry)

        self._consumed = counter("records_consumed_total", "Input records taken up, without those replayed.")
        self._replayed = counter("records_replayed_total", "Input records read again to restore state.")
        self._published = counter("forecasts_published_total", "Forecasts whose transaction was committed.")
        self._dead_letters = counter("dead_letters_total", "Records without a forecast.", (*_PARTITION, "stage"))
        self._evicted = counter("streams_evicted_total", "Streams forgotten.", (*_PARTITION, "reason"))
        self._restarts = counter("task_restarts_total", "Times the task began again.")
        self._learning_steps = counter("learning_steps_total", "Weight updates.")
        self._rollbacks = counter("learning_rollbacks_total", "Weight updates undone because they made it worse.")

        self._lag = gauge("consumer_lag_records", "Records between the position and the end of the partition.")
        self._streams = gauge("streams", "Streams known.")
        self._frozen = gauge("streams_frozen", "Streams with a value that has not changed in about 100 steps.")
        self._state = gauge("task_state", "1 for the state the task is in, else 0.", (*_PARTITION, "state"))
        self._snapshot_bytes = gauge("snapshot_bytes", "Size of the last snapshot's pages.")
        self._snapshot_timestamp = gauge("snapshot_timestamp_seconds", "When the last snapshot was written.")
        self._snapshot_due = gauge("snapshot_due_seconds", "The interval between snapshots now in force.")
        self._gradient_norm = gauge("gradient_norm", "Norm of the last gradient, before clipping.")
        self._loss = gauge("loss", "Loss of the last update.")

        self.forecast_latency = histogram(
            "forecast_latency_seconds", "From a record's timestamp to its forecast's commit.", _LATENCY
        )
        self.compute = histogram("compute_seconds", "Computing one slice of records.", _SLICE)
        self.commit = histogram("commit_seconds", "Committing one transaction.", _COMMIT)
        self.snapshot = histogram("snapshot_seconds", "Writing one snapshot.", _SNAPSHOT)
        self.restore = histogram("restore_seconds", "Restoring one task, without the replay.", _SNAPSHOT)

        scale = "in units of each series' scale"
        errors = counter("absolute_error_total", f"Sum of the forecasts' absolute errors, {scale}.", ("horizon",))
        naive = counter("naive_absolute_error_total", f"Sum of persistence's absolute errors, {scale}.", ("horizon",))
        scored = counter("scored_total", "Forecasts whose truth has arrived.", ("horizon",))
        covered = counter("covered_total", "Of those, how many had it in their interval.", ("horizon",))
        self._by_horizon = [
            tuple(metric.labels(str(horizon)) for metric in (scored, covered, errors, naive)) for horizon in horizons
        ]
        self._horizons = tuple(horizons)
        self._errors = np.zeros((2, len(horizons)))  # sums of the forecasts' and of persistence's absolute errors
        gauge("build_info", "1; what runs is in the labels.", ("version", "backend", "cell")).labels(
            version, backend, cell
        ).set(1)

    def partition(self, topic: str, partition: int) -> "PartitionMetrics":
        """The metrics of one partition: the same object for as long as it is not dropped."""
        key = (topic, partition)
        if key not in self._partitions:
            self._partitions[key] = PartitionMetrics(self, topic, partition)
        return self._partitions[key]

    def drop(self, topic: str, partition: int) -> None:
        """Forgets the gauges of a partition that was revoked; its counters stay, as counters must."""
        if self._partitions.pop((topic, partition), None) is None:
            return
        labels = (topic, str(partition))
        for gauge in (
            self._lag,
            self._streams,
            self._frozen,
            self._snapshot_bytes,
            self._snapshot_timestamp,
            self._snapshot_due,
            self._gradient_norm,
            self._loss,
        ):
            with suppress(KeyError):  # never set
                gauge.remove(*labels)
        for state in State:
            with suppress(KeyError):
                self._state.remove(*labels, state.value)

    def scored(
        self, scored: ArrayLike, covered: ArrayLike, absolute_error: ArrayLike, naive_absolute_error: ArrayLike
    ) -> None:
        """Adds what a slice's labels said of earlier forecasts; each argument (P,), errors in units of S."""
        columns = np.array([scored, covered, absolute_error, naive_absolute_error], np.float64).T
        self._errors += np.nan_to_num(columns[:, 2:].T, posinf=0.0)
        for metrics, amounts in zip(self._by_horizon, np.nan_to_num(columns, posinf=0.0).tolist(), strict=True):
            for metric, amount in zip(metrics, amounts, strict=True):
                metric.inc(amount)

    def skill(self) -> dict[str, float | None]:
        """1 - error / persistence's error by horizon, since the process began; None before there is any."""
        return {
            str(horizon): None if naive == 0 else 1 - own / naive
            for horizon, own, naive in zip(self._horizons, *self._errors.tolist(), strict=True)
        }

    def render(self) -> bytes:
        """The exposition, in the text format of CONTENT_TYPE."""
        return generate_latest(self._registry)


class PartitionMetrics:
    """The metrics of one partition. Each method is called once per slice, commit, snapshot or move."""

    def __init__(self, owner: Metrics, topic: str, partition: int) -> None:
        self._owner = owner
        self._labels = labels = (topic, str(partition))
        # Made here so that they start at 0: a rate over a counter that appears with a value misses that value.
        self._consumed = owner._consumed.labels(*labels)
        self._replayed = owner._replayed.labels(*labels)
        self._published = owner._published.labels(*labels)
        self._restarts = owner._restarts.labels(*labels)
        self._learning_steps = owner._learning_steps.labels(*labels)
        self._rollbacks = owner._rollbacks.labels(*labels)
        self._dead_letters = {stage: owner._dead_letters.labels(*labels, stage) for stage in STAGES}
        self._evicted = {reason: owner._evicted.labels(*labels, reason) for reason in EVICTION_REASONS}

    def consumed(self, records: int) -> None:
        """Records taken up for forecasting."""
        self._consumed.inc(records)

    def replayed(self, records: int) -> None:
        """Records read again to restore state, without a forecast published."""
        self._replayed.inc(records)

    def published(self, forecasts: int) -> None:
        """Forecasts whose transaction was committed."""
        self._published.inc(forecasts)

    def dead_lettered(self, stage: str, records: int) -> None:
        """Records that got no forecast, by stage: one of STAGES."""
        self._dead_letters[stage].inc(records)

    def lag(self, records: int) -> None:
        """How many records are left up to the end of the partition."""
        self._owner._lag.labels(*self._labels).set(records)

    def streams(self, known: int, frozen: int) -> None:
        """How many streams the task knows, and how many of them have a value that stands still."""
        self._owner._streams.labels(*self._labels).set(known)
        self._owner._frozen.labels(*self._labels).set(frozen)

    def evicted(self, reason: str, streams: int) -> None:
        """Streams forgotten, by reason: one of EVICTION_REASONS."""
        self._evicted[reason].inc(streams)

    def state(self, state: State) -> None:
        """The task is in this state and in no other."""
        for each in State:
            self._owner._state.labels(*self._labels, each.value).set(each is state)

    def restarted(self) -> None:
        """The task began again at CREATED."""
        self._restarts.inc()

    def snapshot_written(self, size: int, at: float) -> None:
        """A snapshot of this many bytes is whole, at this time (seconds since the epoch)."""
        self._owner._snapshot_bytes.labels(*self._labels).set(size)
        self._owner._snapshot_timestamp.labels(*self._labels).set(at)

    def snapshot_due(self, interval: float) -> None:
        """The interval between snapshots now in force, in seconds."""
        self._owner._snapshot_due.labels(*self._labels).set(interval)

    def learnt(self, steps: int, rollbacks: int, gradient_norm: float | None, loss: float | None) -> None:
        """Weight updates since the last call; norm and loss are those of the last one, None where there was none."""
        self._learning_steps.inc(steps)
        self._rollbacks.inc(rollbacks)
        if gradient_norm is not None:
            self._owner._gradient_norm.labels(*self._labels).set(gradient_norm)
        if loss is not None:
            self._owner._loss.labels(*self._labels).set(loss)
