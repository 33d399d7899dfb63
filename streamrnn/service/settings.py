"""The settings: every key, its type, its bounds and its default, as they are passed down once they have been read.

The text below a key is its meaning, written here and nowhere else: `python -m tools.configuration` makes
`docs/configuration.md` of it, and of its first line the comment in `config/streamrnn.yaml`.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from streamrnn.service.quantities import Duration, Horizons, Secret, Size

# No Meta(pattern=...): the garbage collector then crashes at exit (msgspec 0.22, its issue 717). Patterns are rules.
Name = Annotated[str, Meta(min_length=1, max_length=4096, description="a text")]
OptionalName = Annotated[Name | None, Meta(description="a text or null")]
FieldPath = Annotated[str, Meta(min_length=1, max_length=1000)]
OptionalFieldPath = Annotated[FieldPath | None, Meta(description="a field's name, with dots to reach into objects")]
ValueFields = Annotated[
    FieldPath | Annotated[tuple[FieldPath, ...], Meta(min_length=1, max_length=4096)] | None,
    Meta(description="a field's name or a list of them, one per feature, with dots to reach into objects"),
]
Numbers = Annotated[
    tuple[float, ...], Meta(max_length=1000, description="a list of at most 1000 numbers, such as [-9999]")
]
Switch = Annotated[bool, Meta(description="true or false")]
Fraction = Annotated[float, Meta(gt=0, lt=1, description="a number above 0 and below 1")]
Threshold = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Rate = Annotated[float, Meta(gt=0, le=1, description="a number above 0 and at most 1")]
Norm = Annotated[float, Meta(gt=0, le=1e9, description="a number above 0 and at most 1e9")]
Width = Annotated[int, Meta(ge=1, le=4096, description="a whole number from 1 to 4096")]
Layers = Annotated[int, Meta(ge=1, le=16, description="a whole number from 1 to 16")]
Steps = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
Streams = Annotated[int, Meta(ge=1, le=100_000_000, description="a whole number from 1 to 100000000")]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1, description="a whole number from 0 to 2^63 - 1")]
Port = Annotated[int, Meta(ge=0, le=65535, description="a whole number from 0 (any free port) to 65535")]


class Default(int):
    """A number that nobody has given; it equals the same number given, and can be told from it."""


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all sections have in common."""


class SecuritySettings(_Section, frozen=True):
    """`kafka.security`: how the broker is reached and who we are there."""

    protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="a security protocol")
    ] = "PLAINTEXT"
    """How the broker is spoken to."""
    mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, Meta(description="a SASL mechanism")
    ] = None
    """How we sign on, for SASL_PLAINTEXT and SASL_SSL."""
    username: OptionalName = None
    """Who we are there, for SASL."""
    password: Secret | None = None
    """Such as `${file:/run/secrets/kafka-password}`."""
    ca_file: OptionalName = None
    """A PEM file of the authorities we trust, for SSL and SASL_SSL.

    null: those of the system.
    """
    cert_file: OptionalName = None
    """A PEM file of our own certificate, for mutual TLS."""
    key_file: OptionalName = None
    """A PEM file of its key, without a passphrase.

    null: the key is in `cert_file`.
    """


class KafkaSettings(_Section, frozen=True):
    """`kafka`: the broker, the guarantee and its timing."""

    bootstrap_servers: Name = "localhost:9092"
    """host:port, one or more, with commas between them."""
    delivery: Annotated[Literal["exactly_once", "at_least_once"], Meta(description="a guarantee")] = "exactly_once"
    """What a crash may do to forecasts.

    `exactly_once`: outputs, dead letters and the offset are one transaction. `at_least_once`: outputs are
    acknowledged, then the offset is committed; after a crash some are published again.
    """
    commit_interval: Duration = Duration(0.1)
    """One transaction holds all that was forecast in this time.

    On average half of it is part of a forecast's latency. Must be shorter than `transaction_timeout`.
    """
    session_timeout: Duration = Duration(10)
    """A silent member's partitions go to others after this.

    So this is how long the partitions of a worker that was killed rest. The broker bounds it
    (`group.min.session.timeout.ms` and `group.max.session.timeout.ms`).
    """
    transaction_timeout: Duration = Duration(10)
    """The broker aborts a transaction that is open for longer.

    A worker that hangs holds back the readers of its output for at most so long.
    """
    group_instance_id: OptionalName = None
    """A name of this member's own: a restart within session_timeout moves no partitions.

    Different for each worker of an `app_id`, such as the name of its pod.
    """
    security: SecuritySettings = field(default_factory=SecuritySettings)


class FileSettings(_Section, frozen=True):
    """`file`: paths, `-` for stdin and stdout."""

    input: Name = "-"
    """JSON lines, `-` for stdin."""
    output: Name = "-"
    """JSON lines, `-` for stdout.

    With `-` at either end state is saved only at the end, and there is no recovery.
    """
    state: Name = "./state"
    """A directory for snapshots."""


class FieldSettings(_Section, frozen=True):
    """`input.fields`: what a record's fields are named, where they have other names than these."""

    value: ValueFields = None
    """A name, or a list of names: one per feature.

    Dots reach into objects, as in `payload.temperature`. null: `value`, and `values` for a list.
    """
    time: OptionalFieldPath = None
    """The field of the record's time.

    null: `time`.
    """
    stream: OptionalFieldPath = None
    """The field that names the stream of a message without a key.

    null: `stream`.
    """


class InputSettings(_Section, frozen=True):
    """`input`: what is read, and what a record may be."""

    topic: Name = "sensors"
    """Where records are read; it must exist.

    Topics are named by letters, digits, dots, `_` and `-`, 249 at most, and no two of ours are the same.
    """
    features: Width = 1
    """Numbers in one step of a stream."""
    start: Annotated[Literal["earliest", "latest"], Meta(description="a place to start")] = "earliest"
    """Where a partition begins that was never read."""
    missing: Numbers = ()
    """Numbers that mean "no value", such as [-9999]."""
    fields: FieldSettings = field(default_factory=FieldSettings)
    max_bytes: Size = Size(1 << 20)
    """Larger records are dead letters."""
    max_steps: Steps = 4096
    """Longer sequences are dead letters."""


class OutputSettings(_Section, frozen=True):
    """`output`: where forecasts go, and whether a sequence gets one or one per step."""

    topic: Name = "sensors.forecast"
    """Where forecasts go: a topic with at least as many partitions as the input.

    Made if it is missing and the broker permits.
    """
    steps: Annotated[Literal["last", "all"], Meta(description="a choice of steps")] = "last"
    """Of a sequence, forecast from its last step or from each."""


class DeadLetterSettings(_Section, frozen=True):
    """`dead_letter`: where records go that cannot be forecast."""

    topic: OptionalName = None
    """null: `<input>.dead-letter`.

    With `transport: file` a path; null is `<output>.dead-letter`, or stderr where the output is stdout.
    """


class AnomalySettings(_Section, frozen=True):
    """`anomalies`: a topic of their own for surprising records."""

    topic: OptionalName = None
    """Also publish surprising records to a topic, or file, of their own.

    The same line as in the output, in the same transaction. null: nowhere.
    """
    threshold: Threshold = 0.999
    """The least `anomaly` of a surprising record; 0.999 and above: a new incident."""


class ForecastSettings(_Section, frozen=True):
    """`forecast`: how far ahead, and how often the interval should hold the truth."""

    horizons: Horizons = Horizons((1,))
    """Steps ahead: a number, a list, or a range "1-24".

    Each costs memory in every stream, the longest most of all; `streamrnn check` prints how much.
    """
    coverage: Fraction = 0.9
    """How often lower..upper should hold the truth."""


class ModelSettings(_Section, frozen=True):
    """`model`: the recurrent network and the readouts beside it."""

    cell: Annotated[Literal["tanh", "relu", "gru", "lstm"], Meta(description="a cell")] = "gru"
    """The recurrent network's cell."""
    hidden: Width = 32
    """Its hidden units."""
    layers: Layers = 1
    """Its layers, one upon the other."""
    readout: Annotated[Literal["auto", "exact", "shared"], Meta(description="a readout")] = "auto"
    """The linear experts: exact for few series, shared for many.

    Exact ones keep a matrix in each series, shared ones have one for all. `auto` takes the exact ones where
    `max_streams` times what they keep fits into `state.exact_budget`.
    """
    initial: OptionalName = None
    """A model that `streamrnn train` wrote, for a warm start.

    A path, read at the start; it must have been trained with the same settings that shape the state.
    """


class LearningSettings(_Section, frozen=True):
    """`learning`: how what the streams share is trained."""

    enabled: Switch = True
    """false freezes what the streams share.

    That is the network's weights, the season and what streams tell each other; a stream's own goes on adapting.
    """
    window: Width = 16
    """Steps of truncated backpropagation through time."""
    optimiser: Name = "adam"
    """How weights descend."""
    rate: Rate = 0.003
    """The learning rate of the first updates.

    After n updates it is divided by sqrt(1 + n/300).
    """
    clip_norm: Norm = 1.0
    """Gradients of a larger norm are scaled down to it."""


class ComputeSettings(_Section, frozen=True):
    """`compute`: what computes, and the seed of the first weights."""

    backend: Annotated[Literal["auto", "numpy", "cupy"], Meta(description="a backend")] = "auto"
    """What computes, and where arrays live.

    `auto` is NumPy, but for `run` where there is a CUDA device and `state.max_streams` is set above 20,000.
    """
    seed: Seed = 0
    """The seed of the first weights."""


class StateSettings(_Section, frozen=True):
    """`state`: how much is kept for each task, for how long, and how often it is written down."""

    max_streams: Streams = Default(1_000_000)
    """For each partition; those unseen for longest are forgotten.

    Between two learning boundaries a partition may hold 4,096 more.
    """
    ttl: Duration | None = None
    """Forget a stream after this long without a record.

    By the records' Kafka timestamps, never by the clock. null: never.
    """
    snapshot_interval: Duration = Duration(10)
    """At least this long between snapshots.

    Longer where a snapshot takes more than a twentieth of it in CPU time.
    """
    exact_budget: Size = Size(256 << 20)
    """`readout: auto` takes the exact one where all streams fit in this."""
    rebuild: Duration = Duration(3600)
    """How far to read back where the state topic was lost."""


class HttpSettings(_Section, frozen=True):
    """`http`: where the endpoints listen, and whom they answer."""

    host: Name = "127.0.0.1"
    """0.0.0.0 to be reached from outside."""
    port: Port = 9109
    """0: any free one, told in the log."""
    token: Secret | None = None
    """Who does not show it sees neither /metrics nor /status."""
    tls_cert_file: OptionalName = None
    """A PEM file of a certificate: with it, https."""
    tls_key_file: OptionalName = None
    """A PEM file of its key; null: the key is in `tls_cert_file`."""


class LogSettings(_Section, frozen=True):
    """`log`: how much, and for whom."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="a level")] = "info"
    """The least that is told."""
    format: Annotated[Literal["text", "json"], Meta(description="a format")] = "text"
    """For people, or an object a line."""


class Config(_Section, frozen=True):
    """All settings, checked. Nothing further down asks whether they make sense."""

    app_id: Name = "streamrnn"
    """The consumer group; also in the names of the state topic and the transactions.

    At most 100 letters, digits, dots, `_` and `-`. Another `app_id` is another application, with new state.
    """
    transport: Annotated[Literal["kafka", "file"], Meta(description="a transport")] = "kafka"
    """Where records come from, and where forecasts go."""
    shutdown_timeout: Duration = Duration(10)
    """To finish the open transaction and write a snapshot."""
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    file: FileSettings = field(default_factory=FileSettings)
    input: InputSettings = field(default_factory=InputSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    dead_letter: DeadLetterSettings = field(default_factory=DeadLetterSettings)
    anomalies: AnomalySettings = field(default_factory=AnomalySettings)
    forecast: ForecastSettings = field(default_factory=ForecastSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    state: StateSettings = field(default_factory=StateSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    log: LogSettings = field(default_factory=LogSettings)


EVERY_OTHER: Final = ()

# The values of each key whose feature is not built yet; EVERY_OTHER means all but the default. A line goes when its
# feature comes, and with the last line goes the table.
NOT_YET: Final[Mapping[str, tuple[object, ...]]] = {
    "model.layers": EVERY_OTHER,
    "learning.optimiser": EVERY_OTHER,
}
