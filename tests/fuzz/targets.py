"""What is fuzzed, and what must hold whatever comes: each target takes one generated input and asserts."""

import json
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import SnapshotWriter, StoredSnapshot, restore, sealed
from streamrnn.errors import ConfigError, SnapshotError
from streamrnn.records import single_steps
from streamrnn.service.config import effective_yaml, load_config
from streamrnn.service.processor import Processor
from streamrnn.service.settings import Config
from streamrnn.transport.contract import PartitionId, RawBatch

EXAMPLE = Path(__file__).parents[2] / "config" / "streamrnn.yaml"
LARGEST_OUTPUT = 1 << 20

# JSON as deep and as odd as it comes, and the words that mean something to us.
numbers = st.one_of(st.floats(), st.integers(-(10**30), 10**30), st.floats(-1e3, 1e3))
words = st.sampled_from(["value", "values", "time", "stream", "forget", "1970-01-01T00:00:00Z", "12.5", "NaN", ""])
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(words, st.text(max_size=3)), inner, max_size=4)
    ),
    max_leaves=10,
)
plausible = st.fixed_dictionaries(
    {},
    optional={
        "value": st.one_of(st.none(), numbers),
        "values": st.lists(
            st.one_of(numbers, st.none(), st.lists(st.one_of(st.none(), numbers), max_size=3)), max_size=5
        ),
        "time": st.one_of(st.integers(-(10**15), 10**15), words, st.lists(st.integers(0, 10**12), max_size=5)),
        "stream": st.text(max_size=5),
        "forget": st.booleans(),
    },
)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Some bytes of it replaced, left out or repeated."""
    raw = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 4))):
        if raw:
            at = draw(st.integers(0, len(raw) - 1))
            raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(raw)


payloads = st.one_of(
    st.none(),
    st.binary(max_size=40),
    damaged(st.one_of(documents, plausible).map(lambda made: json.dumps(made).encode())),
)
keys = st.one_of(st.none(), st.sampled_from([b"a", b"b", b""]), st.binary(max_size=300))
messages = st.lists(st.tuples(keys, payloads, st.integers(-1, 2**45)), min_size=1, max_size=12)
forms = st.builds(
    InputFormat,
    features=st.integers(1, 3),
    lines=st.booleans(),
    max_bytes=st.sampled_from([20, 1 << 20]),
    max_steps=st.sampled_from([2, 4096]),
    fields=st.sampled_from([{}, {"value": "values"}, {"stream": "time"}, {"value": "value.value", "time": "stream"}]),
)
codec_inputs = st.tuples(forms, messages, st.booleans())


def codec(given: tuple[InputFormat, list[tuple[bytes | None, bytes | None, int]], bool]) -> None:
    """Each message ends as one output or one dead letter, and outputs are JSON that keeps its promises."""
    form, batch, every_step = given
    processor = _processor(form, every_step)
    n = len(batch)
    raw = RawBatch(
        list(range(n)), [at for *_, at in batch], [key for key, *_ in batch], [v for _, v, _ in batch], [()] * n, n
    )
    made = processor.process(raw, LARGEST_OUTPUT)
    dead = [letter.offset for letter in made.dead_letters]
    told = [None if value is None else json.loads(value) for value in made.outputs.values]
    assert len(dead) == len(set(dead)) and len(dead) + len(told) == n
    spoken = [body["offset"] for body in told if body is not None]
    assert spoken == sorted(set(spoken)) and not set(spoken) & set(dead)
    for letter in made.dead_letters:
        assert letter.message and letter.stage in ("decode", "validate", "forecast", "encode")
        assert (letter.key, letter.value) == (raw.keys[letter.offset], raw.values[letter.offset])
    for body in filter(None, told):
        lower, mean, upper = (np.array(body[name], float) for name in ("lower", "mean", "upper"))
        assert (np.isnan(mean) == np.isnan(lower)).all() and not np.isinf(mean).any()
        known = ~np.isnan(mean)
        assert (lower[known] <= mean[known]).all() and (mean[known] <= upper[known]).all()


def _processor(form: InputFormat, every_step: bool) -> Processor:
    settings = ForecastSettings(hidden=2, window=8, features=form.features)
    return Processor(PartitionId("fuzz", 0), settings, form, every_step=every_step)


lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
PATHS = """
app_id kafka kafka.security kafka.commit_interval input.missing input.fields forecast.horizons state.max_streams
state.ttl state.exact_budget model.readout learning http.port nonsense.key
"""
paths = st.sampled_from(PATHS.split())
values = st.one_of(
    words,
    st.text(max_size=12),
    documents.map(json.dumps),
    st.sampled_from(["10s", "1GiB", "1-24", "${HOME}", "${X:-1}"]),
)
sets = st.lists(st.tuples(paths, values).map("=".join), max_size=3)
config_texts = st.one_of(
    damaged(st.just("\n".join(lines).encode())),
    documents.map(lambda made: json.dumps(made).encode()),
    st.lists(st.sampled_from(lines), max_size=30).map(lambda some: "\n".join(some).encode()),
    st.binary(max_size=60),
)
environments = st.dictionaries(
    st.sampled_from(["STREAMRNN__INPUT__TOPIC", "STREAMRNN__STATE", "STREAMRNN__A__B__C", "HOME", "STREAMRNN____"]),
    st.text(max_size=8).filter(lambda text: "\0" not in text),
    max_size=2,
)
config_inputs = st.tuples(config_texts, sets, environments)


def config(given: tuple[bytes, list[str], dict[str, str]]) -> None:
    """A configuration that can be shown and read again, or an error with a line for each problem."""
    text, settings, environment = given
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.yaml"
        path.write_bytes(text)
        try:
            made = load_config(path, settings, environment)
        except ConfigError as error:
            assert str(error).strip()
            return
        assert isinstance(made, Config)
        path.write_text(effective_yaml(made))
        if made.kafka.security.password is None and made.http.token is None:
            assert load_config(path, [], {}) == made


@cache
def _snapshot(learning: bool) -> StoredSnapshot:
    forecaster = Forecaster(ForecastSettings(hidden=2, window=8, learning=learning))
    ids = [b"a", b"b", b"c"] * 60
    values = np.sin(np.arange(180.0))[:, None]
    forecaster.forecast(single_steps(ids, np.arange(180), np.arange(180) * 1000, values, nested=False))
    pages = SnapshotWriter(forecaster).capture(180)
    return StoredSnapshot(pages.header, pages.pages)


@dataclass(frozen=True)
class Damage:
    """What is done to a sound snapshot."""

    learning: bool
    pages: list[tuple[int, int, int, bytes]]  # which page, where, how many bytes are left out, what comes instead
    lost: list[int]
    checksums_follow: bool
    header: list[tuple[str, Any]]  # parts of the header, "shared.NAME" for parts of that
    bytes: list[tuple[int, int, bytes]]  # of the header as text


small = st.integers(0, 2000)
parts = st.sampled_from(["layout", "offset", "settings", "slots", "shared", "pages", "format"])
shared = st.sampled_from(["counters", "season", "resting", "guard", "moments", "weights.W"]).map("shared.{}".format)
settings = st.sampled_from(["hidden", "horizons", "cell", "readout", "window", "missing"]).map("settings.{}".format)
shapes = st.tuples(
    st.sampled_from(["<f4", "<f8", "<i8", "|O", "<U3", "|V9", "f16", "x"]), st.lists(st.integers(-1, 40))
)
damages = st.builds(
    Damage,
    learning=st.booleans(),
    pages=st.lists(st.tuples(small, small, st.integers(0, 9), st.binary(max_size=9)), max_size=3),
    lost=st.lists(small, max_size=1),
    checksums_follow=st.booleans(),
    header=st.lists(st.tuples(st.one_of(parts, shared, settings), st.one_of(documents, shapes)), max_size=2),
    bytes=st.lists(st.tuples(small, st.integers(0, 3), st.binary(max_size=3)), max_size=1),
)


def _damaged(damage: Damage) -> StoredSnapshot:
    stored = _snapshot(damage.learning)
    header, pages, names = json.loads(stored.header.partition(b"\n")[0]), dict(stored.pages), sorted(stored.pages)
    for which, at, left_out, instead in damage.pages:
        name = names[which % len(names)]
        page = pages[name]
        at %= len(page) + 1
        pages[name] = page[:at] + instead + page[at + left_out :]
    if damage.checksums_follow:
        header["pages"] = {name: zlib.crc32(page) for name, page in pages.items()}
    for name, value in damage.header:
        section, _, part = name.partition(".")
        if part and isinstance(header[section], dict):
            header[section][part] = value
        elif not part:
            header[section] = value
    for which in damage.lost:
        pages.pop(names[which % len(names)])
    text = sealed(header)
    for at, left_out, instead in damage.bytes:
        at %= len(text) + 1
        text = text[:at] + instead + text[at + left_out :]
    return StoredSnapshot(text, pages)


def snapshot(given: Damage) -> None:
    """It is refused with a reason, or there is a forecaster that forecasts.

    Bytes of which the checksums are right are ours to trust: nobody but us writes those.
    """
    try:
        forecaster, writer, offset = restore(_damaged(given))
    except SnapshotError as error:
        assert str(error).strip()
        return
    if given.pages and given.checksums_follow:
        return
    values = np.arange(9.0)[:, None] * np.ones(forecaster.settings.features)
    ids = [b"a", b"b", b"z"] * 3
    made = forecaster.forecast(single_steps(ids, np.arange(9), np.arange(9), values, nested=False))
    assert not np.isinf(made.mean).any()
    writer.capture(offset)


TARGETS: dict[str, tuple[Callable[[Any], None], st.SearchStrategy[Any]]] = {
    "codec": (codec, codec_inputs),
    "configuration": (config, config_inputs),
    "snapshot reader": (snapshot, damages),
}
