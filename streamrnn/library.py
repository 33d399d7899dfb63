"""`streamrnn.Forecaster`: the daemon's engine in a notebook or a service of one's own, without Kafka."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Self

from streamrnn.engine.forecaster import Forecaster as Engine
from streamrnn.errors import StreamRNNError
from streamrnn.library_forecasts import Forecast, Forecasts
from streamrnn.library_records import Records
from streamrnn.library_settings import Chosen
from streamrnn.records import RecordBatch
from streamrnn.service.state_file import read_state, write_state

__all__ = ["Forecast", "Forecaster", "Forecasts"]


class Forecaster:
    """Forecasts streams of numbers and learns from each record as it comes: predict first, then learn.

        f = Forecaster(horizons=[1, 24])
        for stream, time, value in records:
            forecast = f.update(stream, time, value)
        f.save("state.safetensors")

    It is one partition of the daemon: the same records in the same order give the same forecasts. An object is for
    one thread at a time.
    """

    def __init__(
        self,
        horizons: int | str | Sequence[int | str] = 1,
        *,
        features: int = 1,
        coverage: float = 0.9,
        missing: Sequence[float] = (),
        cell: str = "gru",
        hidden: int = 32,
        readout: str = "auto",
        initial: str | PathLike[str] | None = None,
        learning: bool = True,
        window: int = 16,
        rate: float = 0.003,
        clip_norm: float = 1.0,
        seed: int = 0,
        backend: str = "auto",
        max_streams: int = 1_000_000,
        ttl: str | None = None,
    ) -> None:
        """The arguments are settings of the configuration, with its names, defaults and rules.

        horizons: steps ahead, as 24, [1, 24] or "1-24".
        features: how many numbers a value has.
        coverage: how often lower..upper is to hold the truth.
        missing: numbers that mean none, such as -9999.
        cell: of the recurrent network, tanh, relu, gru or lstm.
        hidden: its units.
        readout: of the linear experts; exact is more accurate than shared and takes more memory, auto is exact where
            that of max_streams streams fits into 256 MiB.
        initial: the file of a model that `streamrnn train` wrote.
        learning: False freezes what the streams share.
        window: steps of truncated back-propagation.
        rate, clip_norm: of each weight update.
        seed: of the first weights.
        backend: where arrays live, numpy or cupy.
        max_streams: how many are kept; of more those go that rested longest.
        ttl: how long a stream may rest, such as "48h".

        Raises ConfigError, which names the argument.
        """
        self._hold(Chosen.by({name: value for name, value in locals().items() if name != "self"}).forecaster())

    @classmethod
    def load(cls, path: str | PathLike[str], *, learning: bool | None = None, backend: str = "auto") -> Self:
        """The forecaster that `save` wrote, or one partition of a daemon, written by `streamrnn state export`.

        It goes on with the very forecasts that it would have made. learning: True or False changes what was saved.
        Raises SnapshotError where the file is damaged, foreign or of another version.
        """
        changed = {} if learning is None else {"learning": learning}
        chosen = Chosen.by({"backend": backend, **changed})
        engine = read_state(Path(path), chosen.xp)
        if changed:
            engine.change_settings(replace(engine.settings, learning=chosen.settings.learning))
        return cls.of_engine(engine)

    @classmethod
    def of_engine(cls, engine: Engine) -> Self:
        """One that goes on with what this engine knows."""
        made = cls.__new__(cls)
        made._hold(engine)
        return made

    def _hold(self, engine: Engine) -> None:
        self._engine, self._records, self._whole = engine, Records(engine.settings.features), True

    def update(self, stream: str, time: Any, value: Any) -> Forecast:
        """Forecast what follows this record of a stream, then learn from it.

        time: epoch milliseconds, a datetime (a naive one is UTC), a numpy.datetime64, or RFC 3339 text; None for the
        time of the record before. value: a number, None or NaN where it is missing, with several features a sequence
        of as many; a list of such sequences is a sequence of steps and gets one forecast, after the last. Raises
        RecordError, and changes nothing, for what the daemon would make a dead letter: an infinite number, a boolean,
        a text, a wrong width.
        """
        return self._forecasts(self._records.one(stream, time, value, self._engine.last_timestamp))[0]

    def update_many(self, streams: str | Sequence[str], times: Any, values: Any) -> Forecasts:
        """`update` for R records at once, in order, with the same forecasts, many times as fast.

        streams: R names, or one for all; times (R,); values (R,), with several features (R, D). Arrays of NumPy are
        fastest, lists and columns of pandas and polars are taken too. Where a record is wrong, RecordError names it,
        and none was learnt.
        """
        return self._forecasts(self._records.many(streams, times, values, self._engine.last_timestamp))

    def forget(self, stream: str) -> None:
        """Drop all that is known of a stream, if it is known."""
        self._forecasts(self._records.tombstone(stream, self._engine.last_timestamp))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole state to a file, safetensors with a readable header, whole or not at all.

        Raises StreamRNNError where it cannot be written.
        """
        write_state(Path(path), self._sound(), {})

    @property
    def streams(self) -> list[str]:
        """The names of the streams that are known."""
        return [key.decode() for key in self._engine.table.index.keys if key is not None]

    def __len__(self) -> int:
        """How many streams are known."""
        return len(self._engine.table)

    def __bool__(self) -> bool:
        return True  # also before the first stream

    @property
    def horizons(self) -> tuple[int, ...]:
        """Steps ahead, ascending."""
        return self._engine.settings.horizons

    def __repr__(self) -> str:
        engine = self._engine
        return (
            f"<Forecaster of horizons {list(self.horizons)}: {len(self):,} streams, {engine.step_number:,} steps, "
            f"{engine.model.updates:,} weight updates>"
        )

    def _forecasts(self, records: RecordBatch) -> Forecasts:
        engine = self._sound()
        self._whole = False
        made = engine.forecast(records)
        self._whole = True
        return Forecasts.of(records, made, self.horizons)

    def _sound(self) -> Engine:
        if not self._whole:
            raise StreamRNNError(
                "an update was interrupted, so the state is between two records. Go on from a saved one: "
                "Forecaster.load(PATH)"
            )
        return self._engine
