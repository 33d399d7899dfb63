"""The reference of settings and the example that names them all are what the types say now."""

import ast
import inspect

import yaml

from streamrnn.service import settings_rules
from streamrnn.service.config import Config, effective_yaml
from tools.configuration import EXAMPLE, PAGE, REFUSED, example, page, refusal
from tools.settings import all_sections

STALE = "is stale: python -m tools.configuration"


def test_the_reference_is_what_the_types_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"{PAGE.name} {STALE}"


def test_the_example_is_what_the_types_say() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == example(), f"{EXAMPLE.name} {STALE}"


def test_every_key_is_there_with_its_kind_its_default_and_a_meaning() -> None:
    told = {setting.key: setting for setting in all_sections().all_settings()}

    def leaves(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in tree.items():
            found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return found

    assert {key: setting.default for key, setting in told.items()} == leaves(yaml.safe_load(effective_yaml(Config())))
    for setting in told.values():
        assert setting.choices or setting.kind, f"{setting.key} has no kind of value"
        assert setting.comment, f"{setting.key} has no meaning"
        assert setting.comment.endswith("."), f"{setting.key}: {setting.comment!r} is no sentence"


def test_no_two_settings_share_a_meaning_within_a_section() -> None:
    told = [(setting.key.rpartition(".")[0], setting.comment) for setting in all_sections().all_settings()]
    assert len(set(told)) == len(told)


def test_every_rule_between_settings_has_an_example_that_only_it_refuses() -> None:
    assert all("\n" not in refusal(sets) for sets in REFUSED)
    tree = ast.walk(ast.parse(inspect.getsource(settings_rules)))
    rules = [node for node in tree if isinstance(node, ast.Yield)]
    assert len(REFUSED) == len(rules)
