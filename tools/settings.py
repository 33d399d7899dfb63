"""Every setting as documents tell it: key, kind of value, default and meaning, read off the types."""

import ast
import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml
from msgspec.structs import FieldInfo

from streamrnn.service import settings
from streamrnn.service.quantities import Duration, Horizons, Secret, Size

# what stands for a value that has a text of its own; `tools.configuration` explains each
KINDS: dict[type, str] = {
    Duration: "a duration",
    Size: "a size",
    Horizons: "numbers of steps",
    Secret: "a secret",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key."""

    key: str  # from the top, with dots
    choices: tuple[str, ...]  # where it is one of some words
    kind: str  # what it must be where it is none of some words
    optional: bool  # null is a value too
    default: object  # as YAML has it
    comment: str  # the first line of its meaning
    more: str  # the rest of it, on one line

    @property
    def name(self) -> str:
        """The key within its section."""
        return self.key.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class SettingSection:
    """Keys that stand together, and the sections within."""

    key: str  # "" for the top
    meaning: str
    settings: tuple[Setting, ...]
    sections: tuple["SettingSection", ...]

    def all_settings(self) -> Iterator[Setting]:
        """Its own and those of the sections within."""
        yield from self.settings
        for section in self.sections:
            yield from section.all_settings()


def all_sections() -> SettingSection:
    """The whole configuration. Raises KeyError for a setting that nobody has given a meaning."""
    return _section(settings.Config, "", _meanings())


def yaml_text(value: object) -> str:
    """A value as it is written behind its key."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()


def _section(kind: type[msgspec.Struct], key: str, meanings: dict[tuple[str, str], str]) -> SettingSection:
    prefix = f"{key}." if key else ""
    own, within = [], []
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            within.append(_section(field.type, prefix + field.name, meanings))
        else:
            own.append(_setting(prefix, field, meanings[kind.__name__, field.name]))
    meaning = inspect.cleandoc(kind.__doc__ or "").removeprefix(f"`{key}`: ")
    return SettingSection(key, meaning, tuple(own), tuple(within))


def _setting(prefix: str, field: FieldInfo, meaning: str) -> Setting:
    layers = list(_layers(field.type))
    comment, _, more = meaning.partition("\n\n")
    return Setting(
        key=prefix + field.name,
        choices=tuple(
            word for layer in layers if typing.get_origin(layer) is typing.Literal for word in typing.get_args(layer)
        ),
        kind=next(filter(None, map(_told, layers)), ""),
        optional=types.NoneType in layers,
        default=_as_yaml(field.default),
        comment=" ".join(comment.split()),
        more=" ".join(more.split()),
    )


def _layers(kind: Any) -> Iterator[Any]:
    """The type from the outside in: what is annotated, what may be null, what is left."""
    yield kind
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        yield from _layers(typing.get_args(kind)[0])
    elif origin in (typing.Union, types.UnionType):
        for part in typing.get_args(kind):
            yield from _layers(part)


def _told(layer: Any) -> str | None:
    """What a layer says of the value."""
    if isinstance(layer, type):
        return KINDS.get(layer)
    return next((note.description for note in getattr(layer, "__metadata__", ()) if note.description), None)


def _as_yaml(value: object) -> object:
    """A default as it is written."""
    if isinstance(value, Duration | Size | Horizons):
        return value.text()
    if isinstance(value, settings.Default):
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _meanings() -> dict[tuple[str, str], str]:
    """The text below each field, by class and name: Python itself does not keep it."""
    found = {}
    for node in ast.parse(inspect.getsource(settings)).body:
        if isinstance(node, ast.ClassDef):
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                    and isinstance(text.value.value, str)
                ):
                    found[node.name, field.target.id] = inspect.cleandoc(text.value.value)
    return found
