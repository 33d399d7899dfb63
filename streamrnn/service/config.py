"""The configuration: read from every source, checked as a whole, shown without its secrets."""

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from streamrnn.errors import ConfigError
from streamrnn.service.quantities import MASK, Duration, Horizons, Secret, Size, parse_float
from streamrnn.service.settings import NOT_YET, Config, Default
from streamrnn.service.settings_rules import breaches
from streamrnn.service.settings_source import Broken, Items, Section, Text, Tree, argument_settings, read_settings

__all__ = ["Config", "config_of", "differences", "effective_yaml", "load_config"]

_SECRET_KEY = re.compile(r"(password|token|secret)$")
_WHOLE_NUMBER = re.compile(r"[-+]?[0-9]{1,19}")
_WITH_OWN_TEXT = (Duration, Size, Horizons)
_SWITCHES = {text: value for value in (True, False) for text in (str(value), str(value).lower(), str(value).upper())}
_NUMERIC = {int, float, bool, types.NoneType}
_LONGEST_SHOWN = 80


def load_config(path: Path | None, sets: Sequence[str], environ: Mapping[str, str]) -> Config:
    """The settings of `sets` (`a.b=value`) over those of environ (`STREAMRNN__A__B`), the file and the defaults.

    Raises ConfigError with one line for each problem found.
    """
    return _checked(*read_settings(path, sets, environ))


def config_of(arguments: Mapping[str, object], keys: Mapping[str, str]) -> Config:
    """The settings of these arguments of a function over the defaults, by the same rules as those of a file.

    keys: the full key of each argument. Raises ConfigError with one line for each problem found, which names the
    argument.
    """
    return _checked(argument_settings(arguments, keys), [])


def _checked(tree: Section, problems: list[str]) -> Config:
    reading = _Reading(problems)
    config: Config = reading.section(Config, tree, "")
    for keys, message in breaches(config):
        if reading.failed.isdisjoint(keys):
            where = next((reading.where[key] for key in keys if key in reading.where), "defaults")
            problems.append(f"{where}: {keys[0]}: {message}")
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def effective_yaml(config: Config) -> str:
    """The settings as YAML that reads back as the same configuration, except that secrets are masked."""
    return yaml.safe_dump(
        _shown_section(config, ""), sort_keys=False, allow_unicode=True, width=118, default_flow_style=None
    )


def differences(config: Config) -> list[tuple[str, str, str]]:
    """Each key that has another value than its default: the key, the value and the default, as YAML, masked."""
    ours, theirs = (dict(_leaves(_shown_section(each, ""), "")) for each in (config, Config()))
    return [(key, _yaml_text(value), _yaml_text(theirs[key])) for key, value in ours.items() if value != theirs[key]]


@dataclass(slots=True)
class _Reading:
    """Gives texts the types of their keys. A value that does not fit is noted and leaves the default in place."""

    problems: list[str]
    failed: set[str] = field(default_factory=set)
    where: dict[str, str] = field(default_factory=dict)

    def section(self, kind: type[Any], tree: Section, prefix: str) -> Any:
        """A struct of this kind with what the tree gives, by full key."""
        fields = {info.name: info for info in msgspec.structs.fields(kind)}
        values: dict[str, object] = {}
        for name, node in tree.entries.items():
            key = prefix + name
            if name not in fields:
                self.problems.append(
                    f"{_where(node, tree)}: {key}: is not a setting.{_suggestion(key, list(fields), prefix)}"
                )
            elif isinstance(node, Broken) or (not _is_section(fields[name].type) and _holds_broken(node)):
                self.failed.add(key)
            elif _is_section(fields[name].type):
                values[name] = self._subsection(fields[name].type, node, key)
            else:
                try:
                    values[name] = _typed(fields[name].type, node, key)
                    _refuse_not_yet(key, values[name], fields[name])
                    self.where[key] = node.where
                except ValueError as error:
                    self.problems.append(f"{node.where}: {key}: {error}")
                    self.failed.add(key)
                    values.pop(name, None)
        return kind(**values)

    def _subsection(self, kind: type[Any], node: Text | Items | Section, key: str) -> Any:
        if isinstance(node, Section):
            return self.section(kind, node, f"{key}.")
        if not (isinstance(node, Text) and node.is_null):
            names = ", ".join(info.name for info in msgspec.structs.fields(kind))
            self.problems.append(
                f"{node.where}: {key}: {_quoted(node, key)} is not a section. Give keys below it: {names}"
            )
        return kind()


def _holds_broken(node: Tree) -> bool:
    """Lists that hold something broken are broken themselves, sections go on without it."""
    return isinstance(node, Broken) or (isinstance(node, Section) and any(map(_holds_broken, node.entries.values())))


def _typed(kind: Any, node: Text | Items | Section, key: str) -> object:
    """The value as its key's type. Raises ValueError with what was found and what is expected."""
    bases = list(_bases(kind))
    if types.NoneType in bases and isinstance(node, Text) and node.is_null:
        return None
    own = next((base for base in bases if base in _WITH_OWN_TEXT), None)
    try:
        if isinstance(node, Text) and node.secret and {str, Secret}.isdisjoint(bases):
            raise ValueError("comes from ${file:...}, which is for secrets. Use the environment or write it here")
        if own is Horizons and isinstance(node, Items):
            return Horizons.parse(_plain(node, numeric=False))
        if own is not None:
            return own.parse(node.text if isinstance(node, Text) else "")
        value = msgspec.convert(_plain(node, numeric=set(bases) <= _NUMERIC), kind, dec_hook=_secret)
    except msgspec.ValidationError:
        raise ValueError(f"{_quoted(node, key)} is not {_expected(kind, bases, node)}") from None
    except ValueError as error:
        raise ValueError(f"{_quoted(node, key)} {error}") from None
    return Secret(value) if isinstance(node, Text) and node.secret else value


def _secret(kind: type[Any], value: object) -> Secret:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError("is not a text")


def _plain(node: Tree, *, numeric: bool) -> Any:
    """The value as lists and scalars, with numbers and switches where the key takes nothing else."""
    if isinstance(node, Items):
        return [_plain(item, numeric=numeric) for item in node.items]
    if isinstance(node, Section):
        return {key: _plain(value, numeric=numeric) for key, value in node.entries.items()}
    assert isinstance(node, Text)
    if not numeric:
        return None if node.is_null else node.text
    if node.text in _SWITCHES:
        return _SWITCHES[node.text]
    if _WHOLE_NUMBER.fullmatch(node.text):
        return int(node.text)
    number = parse_float(node.text)
    return node.text if number is None else number


def _refuse_not_yet(key: str, value: object, info: msgspec.structs.FieldInfo) -> None:
    if key not in NOT_YET or value == info.default or (NOT_YET[key] and value not in NOT_YET[key]):
        return
    shown = MASK if isinstance(value, Secret) else repr(value)
    available = [choice for choice in _choices(info.type) if NOT_YET[key] and choice not in NOT_YET[key]]
    instead = f"Choose one of {', '.join(available)}" if available else f"Leave it at {_yaml_word(info.default)}"
    raise ValueError(f"{shown} is not available in this version. {instead}")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _bases(kind: Any) -> Iterator[Any]:
    """The types that a value of this kind may have, without annotations; str for an enumeration."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        yield from _bases(typing.get_args(kind)[0])
    elif origin is typing.Literal:
        yield str
    elif origin in (typing.Union, types.UnionType, tuple):
        for part in typing.get_args(kind):
            if part is not Ellipsis:
                yield from _bases(part)
    else:
        yield kind


def _choices(kind: Any) -> list[str]:
    """The members of an enumeration, none for other kinds."""
    if typing.get_origin(kind) is typing.Literal:
        return list(typing.get_args(kind))
    if typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType):
        return [choice for part in typing.get_args(kind) for choice in _choices(part)]
    return []


def _expected(kind: Any, bases: list[Any], node: Tree) -> str:
    """What the value should have been."""
    description = next((meta.description for meta in getattr(kind, "__metadata__", ())), "a text")
    choices = _choices(kind)
    if not choices:
        return str(description)
    or_null = " or null" if types.NoneType in bases else ""
    guess = difflib.get_close_matches(node.text, choices, n=1) if isinstance(node, Text) else []
    did_you_mean = f" Did you mean {guess[0]!r}?" if guess else ""
    return f"{description}. Choose one of {', '.join(choices)}{or_null}.{did_you_mean}"


def _suggestion(key: str, siblings: list[str], prefix: str) -> str:
    """The setting that was meant, if one is near by name; else those that there are."""
    name = key.removeprefix(prefix)
    guess = difflib.get_close_matches(name, siblings, n=1)
    if guess:
        return f" Did you mean '{prefix}{guess[0]}'?"
    elsewhere = [full for full in _all_keys(Config, "") if full.rpartition(".")[2] == name]
    if elsewhere:
        return f" Did you mean '{elsewhere[0]}'?"
    return f" There are {', '.join(siblings)}"


def _all_keys(kind: type[Any], prefix: str) -> Iterator[str]:
    for info in msgspec.structs.fields(kind):
        yield prefix + info.name
        if _is_section(info.type):
            yield from _all_keys(info.type, f"{prefix}{info.name}.")


def _where(node: Tree, parent: Section) -> str:
    return parent.where if isinstance(node, Broken) else node.where


def _quoted(node: Tree, key: str) -> str:
    """The value as an error shows it: short, and never a secret."""
    if _SECRET_KEY.search(key) or (isinstance(node, Text) and node.secret):
        return MASK
    if isinstance(node, Section):
        return "a section"
    if key == "kafka.bootstrap_servers":
        return repr(_without_user(str(_plain(node, numeric=False))))
    shown = repr(_plain(node, numeric=not (isinstance(node, Text) and node.quoted)))
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def _yaml_word(value: object) -> str:
    return "null" if value is None else str(value)


def _shown_section(section: msgspec.Struct, prefix: str) -> dict[str, object]:
    return {name: _shown(getattr(section, name), prefix + name) for name in section.__struct_fields__}


def _shown(value: object, key: str) -> object:
    if isinstance(value, msgspec.Struct):
        return _shown_section(value, f"{key}.")
    if isinstance(value, Secret) or (value is not None and _SECRET_KEY.search(key)):
        return MASK
    if isinstance(value, _WITH_OWN_TEXT):
        return value.text()
    if isinstance(value, Default):
        return int(value)
    if isinstance(value, tuple):
        return [_shown(item, key) for item in value]
    if isinstance(value, str):
        return (_without_user(value) if key == "kafka.bootstrap_servers" else value).replace("${", "$${")
    return value


def _leaves(section: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _yaml_text(value: object) -> str:
    """On one line."""
    text = yaml.safe_dump(value, allow_unicode=True, width=1 << 20, default_flow_style=True)
    return text.removesuffix("...\n").strip()


def _without_user(servers: str) -> str:
    """The servers with all before the last @ masked: a password may hold commas and colons."""
    user, at, rest = servers.rpartition("@")
    return f"{MASK}{at}{rest}" if user else servers
