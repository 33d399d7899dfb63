"""A Quix Streams application that forecasts every record with a model for each stream, exactly once.

The models are in a dictionary, the fastest that a user can write, to the rival's favour: they are lost in a crash,
and do not move with their partition. All but the commit interval is left as it is: another linger, and no check of
the broker after each record, made no difference beyond the noise.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from quixstreams import Application

COMMIT_INTERVAL = 0.1  # as streamrnn's


class Forecaster(Protocol):
    """A model of one stream."""

    def step(self, value: float) -> float:
        """Learn that `value` came next, and return the forecast of the one after it."""


def forecast(
    bootstrap: str, source: str, target: str, group: str, total: int, new: Callable[[], Forecaster]
) -> tuple[float, float]:
    """Seconds and CPU seconds that it took to forecast `total` records.

    Quix Streams does not tell when it has committed: some 10 ms of leaving the group are in them.
    """
    practice = new()
    for value in (1.0, 2.0):
        practice.step(value)  # what a library loads at its first use is not measured
    models: dict[str, Forecaster] = {}
    began = cpu = 0.0

    def answer(record: dict[str, float], stream: str, _timestamp: int, _headers: Any) -> dict[str, str | float]:
        nonlocal began, cpu
        model = models.get(stream)
        if model is None:
            if not models:
                began, cpu = time.perf_counter(), time.process_time()
            model = models[stream] = new()
        return {"stream": stream, "forecast": model.step(record["value"])}

    with tempfile.TemporaryDirectory() as folder:
        application = Application(
            broker_address=bootstrap,
            consumer_group=group,
            auto_offset_reset="earliest",
            processing_guarantee="exactly-once",
            commit_interval=COMMIT_INTERVAL,
            auto_create_topics=False,
            state_dir=folder,
            loglevel="ERROR",
        )
        records = application.dataframe(application.topic(source, key_deserializer="str"))
        forecasts = application.topic(target, key_serializer="str")
        records.apply(answer, metadata=True).to_topic(forecasts)
        application.run(count=total, collect=False)
        return time.perf_counter() - began, time.process_time() - cpu


def main(new: Callable[[], Forecaster], given: Sequence[str]) -> None:
    """Run with BOOTSTRAP INPUT OUTPUT GROUP RECORDS, as the command line has them."""
    bootstrap, source, target, group, number = given
    print(*forecast(bootstrap, source, target, group, int(number), new))
