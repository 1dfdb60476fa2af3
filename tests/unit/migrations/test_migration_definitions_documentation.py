"""docs/migration-definitions.md: its example is a good definition, and it names every field and rule there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from apps.migrations.folders import assembly
from apps.migrations.lint import lint, locks
from apps.migrations.risk import assess

CHECKOUT = Path(__file__).parents[3]
PAGE = (CHECKOUT / "docs/migration-definitions.md").read_text(encoding="utf-8")
FILE = re.compile(r"^`(?P<name>[\w.-]+)`\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
RULE = re.compile(r"^[a-z]+(-[a-z]+)+$")
READERS = ("assembly", "steps", "waves")


def literals(path: Path) -> set[str]:
    """Return every text that stands in a module's code by itself."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_the_example_is_a_good_definition(tmp_path: Path) -> None:
    for found in FILE.finditer(PAGE):
        (tmp_path / found["name"]).write_text(found["text"], encoding="utf-8")
    definition = assembly.read(tmp_path)
    assert [step.name for step in definition.steps][-1] == "drop_country"
    assert lint(definition, among=[]) == []
    assert assess(definition).risk == "high"


def test_every_rule_of_the_linter_is_explained_and_no_other() -> None:
    in_code: set[str] = {"definition", "empty", "opaque"}
    for module in (CHECKOUT / "apps/migrations/lint").glob("*.py"):
        in_code |= {text for text in literals(module) if RULE.match(text)}
    of_squawk = {text for text in literals(Path(locks.__file__)) if RULE.match(text)} - {"squawk-unavailable"}
    table = PAGE.partition("## What the linter says")[2]
    explained = {rule for line in table.splitlines() for rule in re.findall(r"`([a-z-]+)`", line.split(" | ")[0])}
    assert explained == in_code - of_squawk


def test_every_field_of_the_document_is_explained() -> None:
    asked = set()
    for module in READERS:
        tree = ast.parse((CHECKOUT / f"apps/migrations/folders/{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in {
                    "text",
                    "word",
                    "whole",
                    "number",
                    "flag",
                    "mapping",
                    "mappings",
                    "params",
                    "raw",
                }:
                    asked |= {first.value} if isinstance(first, ast.Constant) else set()
    assert len(asked) > 40
    assert [name for name in sorted(map(str, asked)) if not re.search(rf"\b{name}\b", PAGE)] == []
