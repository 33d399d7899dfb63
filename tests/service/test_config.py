"""The configuration: what is read, what takes precedence, what is refused and in which words."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamrnn.errors import ConfigError
from streamrnn.service.config import Config, effective_yaml, load_config
from streamrnn.service.quantities import Duration, Horizons, Secret, Size
from streamrnn.service.settings import NOT_YET, KafkaSettings, ModelSettings

EXAMPLES = Path(__file__).parents[2] / "config"


def load(text: str, tmp_path: Path, sets: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Config:
    path = tmp_path / "prod.yaml"
    path.write_text(text)
    return load_config(path, sets, environ or {})


def problems(
    text: str, tmp_path: Path, sets: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> list[str]:
    """The lines of the error, with the file named prod.yaml."""
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path, sets, environ)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


# What is read


def test_nothing_given_gives_the_defaults() -> None:
    assert load_config(None, [], {}) == Config()


def test_the_full_example_is_the_defaults() -> None:
    assert load_config(EXAMPLES / "streamrnn.yaml", [], {}) == Config()


def test_the_full_example_names_every_setting() -> None:
    given = yaml.safe_load((EXAMPLES / "streamrnn.yaml").read_text())

    def keys(tree: Mapping[str, Any], prefix: str = "") -> set[str]:
        nested = [keys(value, f"{prefix}{key}.") for key, value in tree.items() if isinstance(value, dict)]
        return {prefix + key for key in tree}.union(*nested)

    assert keys(given) == keys(yaml.safe_load(effective_yaml(Config())))


def test_the_backtest_example_differs_from_the_defaults_by_its_name_and_its_readouts_alone() -> None:
    assert load_config(EXAMPLES / "score.yaml", [], {}) == Config(
        app_id="score", model=ModelSettings(readout="exact")
    )


def test_the_file_example_reads_and_writes_files() -> None:
    config = load_config(EXAMPLES / "files.yaml", [], {})
    assert (config.transport, config.file.input, config.file.output) == ("file", "records.jsonl", "forecasts.jsonl")


def test_an_empty_file_and_empty_sections_are_the_defaults(tmp_path: Path) -> None:
    assert load("", tmp_path) == load("# nothing\nkafka:\nmodel: {}\n", tmp_path) == Config()


def test_set_goes_over_the_environment_over_the_file_over_the_defaults(tmp_path: Path) -> None:
    text = "model: {hidden: 2}\nlearning: {window: 2}\ninput: {features: 2}\n"
    environ = {"STREAMRNN__MODEL__HIDDEN": "3", "STREAMRNN__LEARNING__WINDOW": "3", "STREAMRNN_MODEL_HIDDEN": "9"}
    config = load(text, tmp_path, ["model.hidden=4"], environ)
    assert (config.model.hidden, config.learning.window, config.input.features) == (4, 3, 2)
    assert config.state.max_streams == 1_000_000


def test_a_set_of_a_whole_section_changes_only_the_keys_it_names(tmp_path: Path) -> None:
    config = load("learning: {window: 2, rate: 0.1}", tmp_path, ["learning={window: 3}"])
    assert (config.learning.window, config.learning.rate) == (3, 0.1)


def test_set_values_are_read_as_yaml() -> None:
    config = load_config(None, ["input.missing=[-9999, 1e3]", "state.ttl=null", "learning.enabled=false"], {})
    assert (config.input.missing, config.state.ttl, config.learning.enabled) == ((-9999.0, 1000.0), None, False)


def test_a_dash_given_to_set_is_the_dash() -> None:
    assert load_config(None, ["file.input=-"], {}).file.input == "-"


def test_references_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    text = f"""
app_id: ${{NAME}}-${{KIND:-b}}
http:
  port: ${{PORT}}
learning: {{window: "${{WINDOW:-8}}"}}
kafka:
  group_instance_id: ${{ID:-}}
  bootstrap_servers: ${{file:{tmp_path}/secret}}
"""
    config = load(text, tmp_path, environ={"NAME": "a", "PORT": "1234"})
    assert (config.app_id, config.http.port, config.learning.window) == ("a-b", 1234, 8)
    assert config.kafka.group_instance_id is None
    assert config.kafka.bootstrap_servers == "hunter2"


def test_a_doubled_dollar_keeps_a_brace_and_what_was_put_in_is_not_looked_through_again(tmp_path: Path) -> None:
    text = "file: {input: 'a$${b}', output: '${X}', state: 'c$d'}"
    config = load(text, tmp_path, environ={"X": "${Y}"})
    assert (config.file.input, config.file.output, config.file.state) == ("a${b}", "${Y}", "c$d")


def test_a_text_of_digits_needs_no_quotes(tmp_path: Path) -> None:
    assert load("app_id: 007", tmp_path).app_id == "007"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("24", (24,)), ("[24, 1, 1]", (1, 24)), ("1-4", (1, 2, 3, 4)), ("'2-3'", (2, 3)), ("[1-3, 24]", (1, 2, 3, 24))],
)
def test_horizons_are_a_number_a_list_or_a_range(given: str, expected: tuple[int, ...]) -> None:
    assert load_config(None, [f"forecast.horizons={given}"], {}).forecast.horizons == expected


@pytest.mark.parametrize(("given", "expected"), [("true", True), ("True", True), ("FALSE", False), ("false", False)])
def test_a_switch_is_what_yaml_calls_one(given: str, expected: bool) -> None:
    assert load_config(None, [f"learning.enabled={given}"], {}).learning.enabled is expected


def test_field_names_are_texts_and_values_may_be_a_list(tmp_path: Path) -> None:
    config = load("input: {features: 2, fields: {value: [a.b, c], time: ts, stream: device.id}}", tmp_path)
    fields = config.input.fields
    assert (fields.value, fields.time, fields.stream) == (("a.b", "c"), "ts", "device.id")


# Durations, sizes, horizons


@given(st.integers(1, 10 * 365 * 24 * 3_600_000))
def test_a_duration_reads_back_from_its_text(milliseconds: int) -> None:
    duration = Duration(milliseconds / 1000)
    assert Duration.parse(duration.text()) == duration
    assert Duration.parse(duration.text()).milliseconds == milliseconds


@given(st.integers(1, 1 << 50))
def test_a_size_reads_back_from_its_text(size: int) -> None:
    assert Size.parse(Size(size).text()) == size


@given(st.sets(st.integers(1, 10_000), min_size=1, max_size=50))
def test_horizons_read_back_from_their_text(steps: set[int]) -> None:
    horizons = Horizons(sorted(steps))
    assert Horizons.parse(horizons.text()) == horizons


def test_durations_and_sizes_are_shown_in_the_largest_unit_that_fits() -> None:
    assert [Duration(s).text() for s in (0.1, 10, 90, 300, 3600)] == ["100ms", "10s", "90s", "5m", "1h"]
    assert [Size(n).text() for n in (1, 65536, 1 << 20, 3 << 30, 1025)] == ["1B", "64KiB", "1MiB", "3GiB", "1025B"]


@given(st.text(max_size=12))
@example("٣s")
@example("1e3s")
@example("-1s")
@example("0ms")
@example("9999999999999999h")
def test_any_text_is_a_duration_and_a_size_or_a_value_error(text: str) -> None:
    for kind in (Duration, Size):
        try:
            parsed = kind.parse(text)
        except ValueError:
            continue
        assert kind.parse(parsed.text()) == parsed > 0


# What is refused


def test_an_unknown_key_is_named_in_full_with_its_place_and_a_suggestion(tmp_path: Path) -> None:
    assert problems("model:\n  hiden: 3\n", tmp_path) == [
        "prod.yaml:2: model.hiden: is not a setting. Did you mean 'model.hidden'?"
    ]


def test_a_key_in_the_wrong_section_is_suggested_where_it_belongs(tmp_path: Path) -> None:
    assert problems("hidden: 3\n", tmp_path) == [
        "prod.yaml:1: hidden: is not a setting. Did you mean 'model.hidden'?"
    ]


def test_an_unknown_variable_and_an_unknown_set_are_named(tmp_path: Path) -> None:
    found = problems("", tmp_path, ["model.colour=red"], {"STREAMRNN__KAFAK__X": "1"})
    assert found[0] == "STREAMRNN__KAFAK__X: kafak: is not a setting. Did you mean 'kafka'?"
    assert found[1].startswith("--set: model.colour: is not a setting. There are cell, hidden")


def test_a_wrong_choice_lists_the_choices_and_the_nearest(tmp_path: Path) -> None:
    assert problems("model: {cell: gur}", tmp_path) == [
        "prod.yaml:1: model.cell: 'gur' is not a cell. Choose one of tanh, relu, gru, lstm. Did you mean 'gru'?"
    ]


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    text = "modle: {}\nmodel: {cell: gur, hidden: 0}\ninput: {topic: '${NOPE}'}\nkafka: {commit_interval: 1h}\n"
    found = problems(text, tmp_path, ["log.level=loud", "oops"], {"STREAMRNN__HTTP__PORT": "70000"})
    keys = [line.split(": ")[1] for line in found]
    assert sorted(keys) == sorted(
        [
            "modle", "model.cell", "model.hidden", "input.topic", "kafka.commit_interval", "log.level",
            "names no key and value. Write it as --set section.key=value", "http.port",
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        "forecast.coverage=0", "forecast.coverage=1", "forecast.coverage=.nan", "forecast.horizons=0",
        "forecast.horizons=[]", "forecast.horizons=3-1", "forecast.horizons=1-1000000000", "forecast.horizons=null",
        "forecast.horizons={a: 1}", "forecast.horizons=1.5", "model.hidden=0", "model.hidden=1.5",
        "model.hidden=true",
        "input.features=0", "input.max_steps=0", "input.max_bytes=0", "input.max_bytes=1MB", "input.max_bytes=null",
        "input.missing=3", "input.missing=[a]", "input.missing=[1e999]", "input.start=yesterday", "input.topic=null",
        "input.topic=a b", "input.topic=", "input.topic=..", "input.fields.value=a..b", "input.fields.value=[a, b]",
        "input.fields.time=[ts]", "learning.rate=0", "learning.clip_norm=-1", "learning.window=0",
        "learning.enabled=1", "state.max_streams=0", "state.ttl=0s", "state.snapshot_interval=10",
        "kafka.commit_interval=0ms", "kafka.commit_interval=10s", "kafka.bootstrap_servers=host:99999",
        "kafka.bootstrap_servers=[a]", "kafka.security.protocol=TLS", "kafka=3", "http.port=-1", "http.port=99999",
        "app_id=a/b", "output.topic=sensors", "dead_letter.topic=sensors.forecast", "transport=pipe", "a.b.c=1",
        ".=1", "model..hidden=1", "model.hidden=[", "model.hidden=*a", "model.hidden=!!int 3", "model.hidden=&a 3",
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_by_its_key(given: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set: ") as caught:
        load_config(None, [given], {})
    assert len(str(caught.value).splitlines()) == 1
    assert given.partition("=")[0].partition(".")[0] in str(caught.value)


@pytest.mark.parametrize("key", NOT_YET)
def test_every_key_of_features_to_come_exists(key: str) -> None:
    value: Any = Config()
    for name in key.split("."):
        value = getattr(value, name)


@pytest.mark.parametrize(
    "given",
    [
        "model.layers=2", "learning.optimiser=sgd",
    ],
)  # fmt: skip
def test_what_is_not_built_yet_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="is not available in this version"):
        load_config(None, [given], {})


def test_what_is_built_is_taken() -> None:
    given = ["model.cell=tanh", "output.steps=all", "compute.backend=cupy", "model.layers=1", "http.token=null"]
    config = load_config(None, [*given, "kafka.delivery=at_least_once"], {})
    assert (config.model.cell, config.output.steps, config.kafka.delivery) == ("tanh", "all", "at_least_once")


@pytest.mark.parametrize("cell", ["tanh", "relu", "gru", "lstm"])
def test_every_cell_can_be_chosen(cell: str) -> None:
    assert load_config(None, [f"model.cell={cell}"], {}).model.cell == cell


def test_signing_on_needs_all_three_of_mechanism_user_and_password() -> None:
    section = "kafka.security={protocol: SASL_SSL, mechanism: PLAIN, username: bob, password: %s}"
    assert load_config(None, [section % "x"], {}).kafka.security.password == "x"
    with pytest.raises(ConfigError, match=r"kafka\.security\.password: is not set"):
        load_config(None, [section % "null"], {})


def test_credentials_that_would_not_be_used_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"kafka\.security\.username: is set, but nobody signs on"):
        load_config(None, ["kafka.security.username=bob"], {})
    with pytest.raises(ConfigError, match=r"kafka\.security\.ca_file: is set, but nothing is encrypted"):
        load_config(None, ["kafka.security.ca_file=ca.pem"], {})


def test_endpoints_over_tls_need_a_certificate_and_a_token_that_a_header_can_hold() -> None:
    http = load_config(None, ["http={token: t, tls_cert_file: c}"], {}).http
    assert (http.token, http.tls_cert_file, http.tls_key_file) == ("t", "c", None)
    with pytest.raises(ConfigError, match=r"http\.tls_key_file: is a key without its certificate"):
        load_config(None, ["http.tls_key_file=k"], {})
    for token in ("two words", "naïve"):
        with pytest.raises(ConfigError, match=r"http\.token: holds what cannot be sent") as caught:
            load_config(None, [f"http.token={token}"], {})
        assert token not in str(caught.value)


def test_a_file_is_not_written_over_itself() -> None:
    with pytest.raises(ConfigError, match=r"file\.output: is file\.input too"):
        load_config(None, ["transport=file", "file={input: a, output: a}"], {})


def test_a_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    found = problems("model:\n  hidden: 3\n  hidden: 4\n", tmp_path)
    assert found == ["prod.yaml:3: model.hidden: is given twice. Keep one of the two"]


def test_a_missing_variable_names_the_key_and_the_way_out(tmp_path: Path) -> None:
    assert problems("input:\n  topic: ${TOPIC}", tmp_path) == [
        "prod.yaml:2: input.topic: environment variable TOPIC is not set. Set it, or write ${TOPIC:-default}"
    ]


@pytest.mark.parametrize("reference", ["${", "${}", "${1A}", "${A B}", "${file:}", "${file:/does/not/exist}"])
def test_a_reference_that_leads_nowhere_is_refused(reference: str, tmp_path: Path) -> None:
    assert problems(f"input: {{topic: '{reference}'}}", tmp_path)[0].startswith("prod.yaml:1: input.topic: ")


def test_a_reference_without_quotes_inside_braces_is_told_to_take_them(tmp_path: Path) -> None:
    assert problems("http: {port: ${PORT}}", tmp_path)[0].endswith(
        'Inside { } and [ ] put references in quotes: "${NAME}"'
    )


def test_a_secret_file_gives_texts_only(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("1234")
    assert "which is for secrets" in problems(f"http: {{port: '${{file:{tmp_path}/port}}'}}", tmp_path)[0]


def test_a_file_that_is_missing_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "absent.yaml", [], {})
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"binary\.yaml: is not UTF-8 at byte 3"):
        load_config(tmp_path / "binary.yaml", [], {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, [], {})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.text("ab:-[]{}&*!|>%@`'\"#,?\n \t${}~0", max_size=60)).map(str.encode)
    | st.binary(max_size=40)
)
@example(b"[" * 5000)
@example(b"{a: " * 200)
@example(b"&a [*a]")
@example(b"!!python/object/apply:os.system [ls]")
@example(b"? [a]\n: b")
@example(b"<<: {model: {hidden: 3}}")
@example(b"--- a\n--- b")
@example(b"model: {hidden: 0777777777777777777777777777777777}")
@example(b"forecast: {horizons: [[1]]}")
@example(b"app_id: [a]")
@example(b"app_id: ${file:\x7f}")
def test_no_file_whatever_it_holds_yields_anything_but_a_configuration_or_its_error(
    tmp_path: Path, content: bytes
) -> None:  # fmt: skip
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(load_config(path, [], {}), Config)
    except ConfigError as error:
        assert str(error).strip()


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_set_and_no_variable_yields_anything_but_a_configuration_or_its_error(key: str, value: str) -> None:
    for full in (
        key,
        f"model.{key}",
        "model.hidden",
        "kafka.security.password",
        "forecast.horizons",
        "input.missing",
    ):
        try:
            load_config(None, [f"{full}={value}"], {f"STREAMRNN__{key}": value, "STREAMRNN__STATE__TTL": value})
        except ConfigError as error:
            assert str(error).strip()


# What is shown


def test_the_effective_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    given = [
        "input={features: 2, missing: [-9999], max_bytes: 64KiB, fields: {value: [a, b], stream: 'null'}}",
        "forecast.horizons=1-24", "state.ttl=90s", "app_id=007", "file.input='a$${b} #c'",
        "kafka.group_instance_id='~'",
    ]  # fmt: skip
    config = load_config(None, given, {})
    assert load(effective_yaml(config), tmp_path) == config


def test_no_secret_is_shown(tmp_path: Path) -> None:
    (tmp_path / "user").write_text("hunter1")
    section = f"{{protocol: SASL_SSL, mechanism: PLAIN, username: '${{file:{tmp_path}/user}}', password: hunter2}}"
    config = load_config(None, [f"kafka.security={section}"], {})
    assert (config.kafka.security.username, config.kafka.security.password) == ("hunter1", "hunter2")
    assert "hunter" not in effective_yaml(config) + repr(config)


def test_userinfo_in_servers_is_masked_and_refused() -> None:
    config = Config(kafka=KafkaSettings(bootstrap_servers="a:1,bob:hun,ter2@b:2"))
    assert "bootstrap_servers: '********@b:2'" in effective_yaml(config)
    with pytest.raises(ConfigError, match="names a user") as caught:
        load_config(None, ["kafka.bootstrap_servers=bob:hunter2@b:2"], {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["[hunter2]", "{a: hunter2}", "hunter2: [", "*hunter2", "hunter2${", "${hunter2 }"])
def test_no_error_shows_a_secret(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [f"kafka.security.password={value}"], {"STREAMRNN__KAFKA__SECURITY__PASSWORD": value})
    assert "hunter2" not in str(caught.value)


def test_a_secret_of_digits_is_a_text() -> None:
    environ = {"STREAMRNN__KAFKA__SECURITY__PASSWORD": "12345"}
    section = "kafka.security={protocol: SASL_SSL, mechanism: PLAIN, username: bob}"
    password = load_config(None, [section], environ).kafka.security.password
    assert isinstance(password, Secret)
    assert password == "12345"


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Config().model.hidden = 3  # type: ignore[misc]
    assert all(kind.__struct_config__.frozen for kind in (Config, KafkaSettings))
    assert issubclass(Config, msgspec.Struct)


def test_a_process_that_read_every_kind_of_setting_ends_well() -> None:
    # msgspec 0.22 crashed at exit once a type with Meta(pattern=...) had been used.
    sets = ["input.fields.value=[a]", "input.missing=[1]", "model.cell=tanh", "state.ttl=1s", "app_id=a"]
    code = f"from streamrnn.service.config import load_config; load_config(None, {sets!r}, {{}})"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("key", ["app_id", "model", "input.missing", "input.fields"])
def test_a_reference_that_is_not_closed_is_told_wherever_it_stands(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=r"\$\{"):
        load("", tmp_path, [f'{key}={{"value": "${{"}}'])
