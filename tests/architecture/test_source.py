"""Habits of the house that a reader relies on, asked of the source itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
LONGEST_FILE = 350
# The thing itself may go unnamed (`submit(submission, …)`); everything beside it is a keyword.
POSITIONAL = 1


def sources() -> list[Path]:
    """Return the project's own modules, without migrations, which Django writes."""
    found = [path for folder in ("apps", "opsplatform", "workers") for path in (ROOT / folder).rglob("*.py")]
    return [path for path in found if not re.search(r"/migrations/0\d{3}_", str(path))]


def operations() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield (name, function) of every write that others may call."""
    for path in sources():
        if re.search(r"/apps/[a-z]+/operations(/|\.py$)", str(path)):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    yield f"{named(path)}: {node.name}", node


def named(path: Path) -> str:
    """Return a file's path as the project writes it."""
    return str(path.relative_to(ROOT))


def test_there_is_source() -> None:
    assert len(sources()) > 100
    assert len(list(operations())) > 10


def test_no_file_outgrows_a_readers_head() -> None:
    long = {named(path): count for path in sources() if (count := len(path.read_text().splitlines())) > LONGEST_FILE}
    assert long == {}


def test_every_module_says_what_it_is() -> None:
    texts = {named(path): path.read_text() for path in sources()}
    assert [name for name, text in texts.items() if text and not ast.get_docstring(ast.parse(text))] == []


def test_operations_take_one_thing_and_keywords() -> None:
    loose = []
    for name, function in operations():
        given = function.args
        if len(given.posonlyargs + given.args) > POSITIONAL or given.vararg or given.kwarg:
            loose.append(name)
    assert loose == []


def test_every_operation_says_what_it_does() -> None:
    assert [name for name, function in operations() if not ast.get_docstring(function)] == []


def test_nobody_saves_a_whole_row_or_listens_to_its_saving() -> None:
    """Writing is compare-and-set, in operations; `save()` overrides and signals would be work nobody sees."""
    banned = re.compile(r"def save\(self|post_save|pre_save|post_delete|pre_delete")
    assert [named(path) for path in sources() if "/apps/" in str(path) and banned.search(path.read_text())] == []


MARKDOWN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", MARKDOWN, ids=[named(path) for path in MARKDOWN])
def test_every_link_of_the_documents_leads_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (path.parent / link).exists()] == []


def test_every_setting_that_is_read_stands_in_the_readme() -> None:
    source = (ROOT / "opsplatform/settings/environment.py").read_text()
    read = set(re.findall(r'variables(?:\.get\(|, )"([A-Z_]+)"', source))
    internal = {"OPS_PROCESS", "OPS_DATABASE_ROLE"}  # told by the supervisor and by manage.py, never by a person
    named_there = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert read - internal - named_there == set()
