"""The settings: every key, its type, its bounds and its default, as they are passed down once they have been read."""

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
    mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, Meta(description="a SASL mechanism")
    ] = None
    username: OptionalName = None
    password: Secret | None = None
    ca_file: OptionalName = None
    cert_file: OptionalName = None
    key_file: OptionalName = None


class KafkaSettings(_Section, frozen=True):
    """`kafka`: the broker, the guarantee and its timing."""

    bootstrap_servers: Name = "localhost:9092"
    delivery: Annotated[Literal["exactly_once", "at_least_once"], Meta(description="a guarantee")] = "exactly_once"
    commit_interval: Duration = Duration(0.1)
    session_timeout: Duration = Duration(10)
    transaction_timeout: Duration = Duration(10)
    group_instance_id: OptionalName = None
    security: SecuritySettings = field(default_factory=SecuritySettings)


class FileSettings(_Section, frozen=True):
    """`file`: paths, `-` for stdin and stdout."""

    input: Name = "-"
    output: Name = "-"
    state: Name = "./state"


class FieldSettings(_Section, frozen=True):
    """`input.fields`: the names that a record's fields have; None for the contract's own."""

    value: ValueFields = None
    time: OptionalFieldPath = None
    stream: OptionalFieldPath = None


class InputSettings(_Section, frozen=True):
    """`input`: what is read, and what a record may be."""

    topic: Name = "sensors"
    features: Width = 1
    start: Annotated[Literal["earliest", "latest"], Meta(description="a place to start")] = "earliest"
    missing: Numbers = ()
    fields: FieldSettings = field(default_factory=FieldSettings)
    max_bytes: Size = Size(1 << 20)
    max_steps: Steps = 4096


class OutputSettings(_Section, frozen=True):
    """`output`: where forecasts go, and whether a sequence gets one or one per step."""

    topic: Name = "sensors.forecast"
    steps: Annotated[Literal["last", "all"], Meta(description="a choice of steps")] = "last"


class DeadLetterSettings(_Section, frozen=True):
    """`dead_letter`: where records go that cannot be forecast; None for `<input>.dead-letter`."""

    topic: OptionalName = None


class AnomalySettings(_Section, frozen=True):
    """`anomalies`: a topic of their own for surprising records."""

    topic: OptionalName = None
    threshold: Threshold = 0.999


class ForecastSettings(_Section, frozen=True):
    """`forecast`: how far ahead, and how often the interval should hold the truth."""

    horizons: Horizons = Horizons((1,))
    coverage: Fraction = 0.9


class ModelSettings(_Section, frozen=True):
    """`model`: the recurrent network and the readouts beside it."""

    cell: Annotated[Literal["tanh", "relu", "gru", "lstm"], Meta(description="a cell")] = "gru"
    hidden: Width = 32
    layers: Layers = 1
    readout: Annotated[Literal["auto", "exact", "shared"], Meta(description="a readout")] = "auto"
    initial: OptionalName = None


class LearningSettings(_Section, frozen=True):
    """`learning`: how what the streams share is trained."""

    enabled: Switch = True
    window: Width = 16
    optimiser: Name = "adam"
    rate: Rate = 0.003
    clip_norm: Norm = 1.0


class ComputeSettings(_Section, frozen=True):
    """`compute`: where arrays live, and the seed of the first weights."""

    backend: Annotated[Literal["auto", "numpy", "cupy"], Meta(description="a backend")] = "auto"
    seed: Seed = 0


class StateSettings(_Section, frozen=True):
    """`state`: how much is kept for each task, for how long, and how often it is written down."""

    max_streams: Streams = Default(1_000_000)
    ttl: Duration | None = None
    snapshot_interval: Duration = Duration(10)
    exact_budget: Size = Size(256 << 20)
    rebuild: Duration = Duration(3600)


class HttpSettings(_Section, frozen=True):
    """`http`: where the endpoints listen; port 0 for any free one."""

    host: Name = "127.0.0.1"
    port: Port = 9109
    token: Secret | None = None
    tls_cert_file: OptionalName = None
    tls_key_file: OptionalName = None


class LogSettings(_Section, frozen=True):
    """`log`: how much, and for whom."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="a level")] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="a format")] = "text"


class Config(_Section, frozen=True):
    """All settings, checked. Nothing further down asks whether they make sense."""

    app_id: Name = "streamrnn"
    transport: Annotated[Literal["kafka", "file"], Meta(description="a transport")] = "kafka"
    shutdown_timeout: Duration = Duration(10)
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
