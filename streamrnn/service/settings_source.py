"""Where settings come from: a YAML file, the environment, `--set`, read into one tree of texts with their origins.

What a text means (a number, a duration, a name) is for `config.py` to say, which knows the type of each key. Here is
only what holds for all of them: a small and safe part of YAML, references, and what takes precedence over what.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from streamrnn.errors import ConfigError

PREFIX = "STREAMRNN__"
_LARGEST_FILE = 1 << 20
_LARGEST_SECRET = 1 << 16
_DEEPEST = 32
_DEFAULT_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<inside>[^}]*)(?P<closed>\}?)")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<has_default>:-(?P<default>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Text:
    """One value as it was written, references replaced."""

    text: str
    where: str  # `config/prod.yaml:12`, `--set` or the environment variable's name
    quoted: bool = False  # "null" is a text, null is no value
    secret: bool = False  # some of it came from ${file:...}

    @property
    def is_null(self) -> bool:
        """True for nothing, ~ and null."""
        return not self.quoted and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple["Tree", ...]
    where: str


@dataclass(frozen=True, slots=True)
class Section:
    """Settings by key."""

    entries: Mapping[str, "Tree"]
    where: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that could not be read; its problem has been noted."""


Tree = Text | Items | Section | Broken


class _UnreadableError(Exception):
    """One value cannot be read; its key is told by whoever knows it."""


def read_settings(path: Path | None, sets: Sequence[str], environ: Mapping[str, str]) -> tuple[Section, list[str]]:
    """The settings given, `--set` over `STREAMRNN__A__B` over the file, and the problems with single values.

    Raises ConfigError where the file as a whole cannot be read.
    """
    problems: list[str] = []
    tree = Section({}, "")
    if path is not None:
        tree = _read_file(path, environ, problems)
    for name in sorted(environ):
        if name.startswith(PREFIX):
            keys = name.removeprefix(PREFIX).lower().split("__")
            tree = _with_value(tree, keys, environ[name], name, environ, problems)
    for given in sets:
        key, equals, value = given.partition("=")
        if equals and key.strip():
            tree = _with_value(tree, key.strip().split("."), value, "--set", environ, problems)
        else:
            (name,) = re.findall(r"^[\w.]*", given)  # what follows may be a secret
            problems.append(f"--set {name!r}: names no key and value. Write it as --set section.key=value")
    return tree, problems


def argument_settings(arguments: Mapping[str, object], keys: Mapping[str, str]) -> Section:
    """Values as Python has them, laid out by the full key of each; an array counts as a list. Nothing is replaced."""
    tree = Section({}, "")
    for name, value in arguments.items():
        node = _argument(value, f"argument {name}")
        for key in reversed(keys[name].split(".")):
            node = Section({key: node}, "")
        merged = _merged(tree, node)
        assert isinstance(merged, Section)
        tree = merged
    return tree


def _argument(value: object, where: str) -> Tree:
    """The value as a file would have it; what a file cannot have is its text, which fits nowhere."""
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if isinstance(value, list | tuple | range | set | frozenset):
        return Items(tuple(_argument(item, where) for item in value), where)
    if isinstance(value, bool | None):
        return Text(json.dumps(value), where)
    return Text(str(value), where, quoted=isinstance(value, str))


def _read_file(path: Path, environ: Mapping[str, str], problems: list[str]) -> Section:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise ConfigError(f"{path}: is larger than 1MiB. No configuration is: check the path")
        tree = _Reader(str(path), environ, problems).read(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at byte {error.start}. Save it as UTF-8 text") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read: {reason}. Give a YAML file that this user may read") from error
    except _UnreadableError as error:
        raise ConfigError(str(error)) from error
    if isinstance(tree, Section):
        return tree
    if isinstance(tree, Text) and tree.is_null:
        return Section({}, str(path))
    raise ConfigError(f"{path}: holds no settings. Write keys and values, such as app_id: streamrnn")


def _with_value(
    tree: Section, keys: list[str], value: str, where: str, environ: Mapping[str, str], problems: list[str]
) -> Section:
    """The tree with one value from the command line or the environment laid over it."""
    try:
        node = _Reader(where, environ, problems, lines=False, key=".".join(keys)).read(value)
    except _UnreadableError:
        # The parser's own words would quote the value, and it may be a secret.
        problems.append(f"{where}: {'.'.join(keys)}: the value is not YAML. Put it in single quotes of its own")
        node = Broken()
    for key in reversed(keys):
        node = Section({key: node}, where)
    merged = _merged(tree, node)
    assert isinstance(merged, Section)
    return merged


def _merged(below: Tree, above: Tree) -> Tree:
    """Sections are merged key by key; any other value replaces what was there."""
    if not (isinstance(below, Section) and isinstance(above, Section)):
        return above
    entries = dict(below.entries)
    for key, node in above.entries.items():
        entries[key] = _merged(entries[key], node) if key in entries else node
    return Section(entries, below.where)


class _SafeLoader(yaml.SafeLoader):
    """The safe loader with nothing resolved (every scalar stays a text) and without anchors, aliases and tags."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (as in the base class)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refused("anchors and aliases are not read", event)
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _refused("too many levels", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and node.tag not in _DEFAULT_TAGS:
            raise _refused(f"tags such as {node.tag} are not read", node)
        return node


def _refused(problem: str, at: yaml.Event | yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)  # type: ignore[arg-type]


class _Reader:
    """Turns one YAML document into a tree, noting problems beside it."""

    def __init__(
        self, source: str, environ: Mapping[str, str], problems: list[str], *, lines: bool = True, key: str = ""
    ) -> None:
        self._source, self._environ, self._problems = source, environ, problems
        self._lines, self._key = lines, key

    def read(self, document: str) -> Tree:
        """Raises _UnreadableError where the text is not YAML; less than that is noted and left out."""
        # "-" alone is a list of one nothing in YAML, but everyone who writes --set file.input=- means the dash.
        if not self._lines and document == "-":
            return Text("-", self._source)
        try:
            node = yaml.compose(document, Loader=_SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            reason = ", ".join(part for part in (error.context, error.problem) if part)
            at_brace = "flow" in (error.context or "") and "${" in document
            hint = '. Inside { } and [ ] put references in quotes: "${NAME}"' if at_brace else ""
            raise _UnreadableError(f"{self._source}{line}: is not readable as YAML: {reason}{hint}") from error
        except yaml.YAMLError as error:  # a character that YAML forbids
            raise _UnreadableError(
                f"{self._source}: is not readable as YAML: {str(error).splitlines()[0]}"
            ) from error
        except RecursionError as error:
            raise _UnreadableError(f"{self._source}: is not readable as YAML: too many levels") from error
        return Text("", self._source) if node is None else self._tree(node, self._key)

    def _tree(self, node: yaml.Node, key: str) -> Tree:
        where = f"{self._source}:{node.start_mark.line + 1}" if self._lines else self._source
        if isinstance(node, yaml.MappingNode):
            return self._section(node, key, where)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self._tree(item, f"{key}[{i}]") for i, item in enumerate(node.value))
            return Broken() if any(isinstance(item, Broken) for item in items) else Items(items, where)
        assert isinstance(node, yaml.ScalarNode)
        try:
            text, secret = replace_references(node.value, self._environ)
        except _UnreadableError as problem:
            self._problems.append(f"{where}: {key}: {problem}")
            return Broken()
        came_out_empty = node.value != "" and text == ""
        return Text(text, where, quoted=node.style is not None and not came_out_empty, secret=secret)

    def _section(self, node: yaml.MappingNode, prefix: str, where: str) -> Section:
        entries: dict[str, Tree] = {}
        for key_node, value_node in node.value:
            key_where = f"{self._source}:{key_node.start_mark.line + 1}" if self._lines else self._source
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.append(f"{key_where}: {prefix or 'the file'}: a key must be a name")
                continue
            key = key_node.value
            full = f"{prefix}.{key}" if prefix else key
            if key in entries:
                self._problems.append(f"{key_where}: {full}: is given twice. Keep one of the two")
            entries[key] = self._tree(value_node, full)
        return Section(entries, where)


def replace_references(text: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """The text with `${NAME}`, `${NAME:-default}` and `${file:PATH}` replaced, and whether a file was read.

    `$${` stands for `${` itself. What is put in is not looked through again.
    """
    secret = False

    def replacement(match: re.Match[str]) -> str:
        nonlocal secret
        if match["escaped"]:
            return "${"
        inside = match["inside"]
        if not match["closed"]:
            raise _UnreadableError("'${' is never closed. Write ${NAME}, or $${ for the two characters themselves")
        if inside.startswith("file:"):
            secret = True
            return _secret_file(inside.removeprefix("file:"))
        variable = _VARIABLE.fullmatch(inside)
        if variable is None:
            raise _UnreadableError("what '${' opens is no reference. Write ${NAME}, ${NAME:-default} or ${file:PATH}")
        value = environ.get(variable["name"], "")
        if variable["has_default"]:
            return value or str(variable["default"])
        if variable["name"] not in environ:
            name = variable["name"]
            raise _UnreadableError(f"environment variable {name} is not set. Set it, or write ${{{name}:-default}}")
        return value

    return _REFERENCE.sub(replacement, text), secret


def _secret_file(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            content = file.read(_LARGEST_SECRET + 1)
        if len(content) > _LARGEST_SECRET:
            raise _UnreadableError(f"${{file:{name}}} is larger than 64KiB. No secret is: check the path")
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"${{file:{name}}} is not UTF-8 text") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _UnreadableError(
            f"${{file:{name}}} cannot be read: {reason}. Give a file that this user may read"
        ) from error
