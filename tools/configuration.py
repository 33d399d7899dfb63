"""The reference of all settings, and the example that names them all.

python -m tools.configuration      writes docs/configuration.md and config/streamrnn.yaml
"""

import re
from collections.abc import Iterator
from pathlib import Path

from streamrnn.errors import ConfigError
from streamrnn.service.config import load_config
from streamrnn.service.quantities import LARGEST_HORIZON, MASK, MOST_HORIZONS
from streamrnn.service.settings import NOT_YET
from tools.settings import Setting, SettingSection, all_sections, yaml_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / "config" / "streamrnn.yaml"
COMMENT_COLUMN = 30

EXAMPLE_HEAD = """\
# Every setting with its default: a file that holds only what differs means the same.
# Made by `python -m tools.configuration` from streamrnn/service/settings.py; docs/configuration.md says more.
#
# Over this file go STREAMRNN__SECTION__KEY variables, and over those --set section.key=value.
# ${NAME} and ${NAME:-default} are taken from the environment, ${file:PATH} from a file (for secrets).
# `streamrnn check -c FILE` says what is wrong with a file, and shows what will be used.
"""

PAGE_HEAD = f"""\
# Configuration
<!-- Made by `python -m tools.configuration` from streamrnn/service/settings.py. Change it there. -->
One YAML file, given by `-c`. Every key has a default; `config/streamrnn.yaml` names them all, and a file that holds
only what differs means the same.

    streamrnn check -c streamrnn.yaml      # what is wrong with it; else what will be used, and memory a stream

**Where a value comes from.** `--set section.key=value` goes over the variable `STREAMRNN__SECTION__KEY` (two
underscores between the parts), which goes over the file, which goes over the default. `--set` may be given many
times; its value is read as YAML. In all of them `${{NAME}}` and `${{NAME:-default}}` are replaced from the
environment and `${{file:PATH}}`, for secrets, by what a file holds; `$${{` is a `${{` that is left alone.

**What is wrong** ends every command with exit code 2 and one line for each mistake: where it stands, what was found,
what is expected. A key that does not exist is a mistake too.

## Kinds of value
| kind | written as |
|---|---|
| a duration | a whole number and its unit: `100ms`, `10s`, `5m`, `1h`; from 1ms to ten years |
| a size | a whole number and its unit: `512B`, `64KiB`, `1MiB`, `2GiB`; without a unit, bytes |
| numbers of steps | `24`, `[1, 24]`, `"1-24"`: each from 1 to {LARGEST_HORIZON:,}, {MOST_HORIZONS:,} at most |
| a secret | a text; shown as `{MASK}` wherever it is shown |
"""

# one example for each rule that no key breaks by itself, in the order of settings_rules.py
REFUSED = (
    ("app_id=pumps/7",),
    ("kafka.bootstrap_servers=me@broker:9092",),
    ("kafka.bootstrap_servers=broker:kafka",),
    (f"app_id={'a' * 100}", f"input.topic={'b' * 200}"),
    ("output.topic=sensor forecasts",),
    ("output.topic=sensors",),
    ("kafka.security.protocol=SASL_SSL", "kafka.security.mechanism=PLAIN", "kafka.security.username=me"),
    ("kafka.security.username=me",),
    ("kafka.security.ca_file=ca.pem",),
    ("kafka.security.protocol=SSL", "kafka.security.key_file=key.pem"),
    ("kafka.commit_interval=10s",),
    ("transport=file", "anomalies.topic=-"),
    ("transport=file", "file.input=data.jsonl", "file.output=data.jsonl"),
    ("http.tls_key_file=key.pem",),
    ("http.token=two words",),
    ("input.fields.value=[temperature, humidity]",),
    ("input.fields.time=.ts",),
)


def page() -> str:
    """The reference, as Markdown."""
    top = all_sections()
    lines = [PAGE_HEAD, "## Of the whole", *_table(top.settings)]
    for section in top.sections:
        lines += _section_lines(section)
    lines += ["## Rules between settings", "Each of these is refused, with these words:", ""]
    lines += ["| set | answer |", "|---|---|"]
    for sets in REFUSED:
        given = "<br>".join(f"`{_shortened(each)}`" for each in sets)
        lines.append(f"| {given} | {_cell(_shortened(refusal(sets)))} |")
    return "\n".join(lines) + "\n"


def example() -> str:
    """Every setting with its default, as YAML."""
    top = all_sections()
    lines = [EXAMPLE_HEAD, *(_commented(setting, "") for setting in top.settings)]
    for section in top.sections:
        lines += ["", *_example_lines(section, "")]
    return "\n".join(lines) + "\n"


def refusal(sets: tuple[str, ...]) -> str:
    """What is said of these settings; the defaults otherwise. Raises ValueError where they are not refused."""
    try:
        load_config(None, sets, {})
    except ConfigError as error:
        return str(error).removeprefix("--set: ")
    raise ValueError(f"{' '.join(sets)} is not refused")


def _section_lines(section: SettingSection) -> Iterator[str]:
    yield f"## {section.key}"
    yield f"{section.meaning[0].upper()}{section.meaning[1:]}"
    yield ""
    yield from _table(section.settings)
    for within in section.sections:
        yield from _section_lines(within)


def _table(settings: tuple[Setting, ...]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for setting in settings:
        meaning = f"{setting.comment} {setting.more}".strip()
        if setting.key in NOT_YET:
            meaning += " **Only the default is available in this version.**"
        value, default = _value(setting), yaml_text(setting.default)
        yield f"| `{setting.key}` | {value} | `{default}` | {_cell(meaning)} |"
    yield ""


def _value(setting: Setting) -> str:
    """What may be written."""
    told = setting.kind
    if setting.choices:
        told = ", ".join(f"`{choice}`" for choice in setting.choices[:-1]) + f" or `{setting.choices[-1]}`"
    if not setting.optional or told.endswith(" or null"):
        return told
    return f"{told}, or null" if "," in told else f"{told} or null"


def _example_lines(section: SettingSection, indent: str) -> Iterator[str]:
    name = section.key.rpartition(".")[2]
    yield _with_comment(f"{indent}{name}:", section.meaning.removesuffix("."))
    for setting in section.settings:
        yield _commented(setting, indent + "  ")
    for within in section.sections:
        yield from _example_lines(within, indent + "  ")


def _commented(setting: Setting, indent: str) -> str:
    comment = _in_small(setting.comment.removesuffix("."))
    if setting.choices:
        comment = f"{' | '.join(setting.choices)}: {comment}"
    if setting.key in NOT_YET:
        comment += "; only this value in this version"
    return _with_comment(f"{indent}{setting.name}: {yaml_text(setting.default)}", comment)


def _with_comment(line: str, comment: str) -> str:
    return f"{line:<{COMMENT_COLUMN}}  # {comment}"


def _cell(text: str) -> str:
    """What would be taken for a tag, written so that it is not, where it is no code."""
    return "`".join(part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(text.split("`")))


def _in_small(text: str) -> str:
    """Without the capital that begins a sentence."""
    first = text.partition(" ")[0]
    return text if len(first) > 1 and first.isupper() else text[0].lower() + text[1:]


def _shortened(text: str) -> str:
    """Names of one letter, again and again, as three of it."""
    return re.sub(r"(\w)\1{20,}", r"\1\1\1…", text)


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    EXAMPLE.write_text(example(), encoding="utf-8")


if __name__ == "__main__":
    main()
