"""The AsyncAPI document names every event, its references lead somewhere, its schemas refuse what is not published."""

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from django.conf import settings
from jsonschema import Draft202012Validator, ValidationError

from apps.jobs import events
from opsplatform import asyncapi

DOCS = Path(settings.BASE_DIR) / "docs"
WRITTEN: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [found for name, each in node.items() for found in ([each] if name == "$ref" else references(each))]
    return [found for each in node for found in references(each)] if isinstance(node, list) else []


def test_the_document_is_what_the_code_says() -> None:
    assert asyncapi.document() == WRITTEN
    assert WRITTEN["asyncapi"] == "3.0.0"


def test_every_event_type_is_in_it_and_in_the_page() -> None:
    assert set(WRITTEN["components"]["messages"]) == set(asyncapi.published())
    assert set(events.ALL) == set(events.MEANINGS) < set(asyncapi.published())
    page = (DOCS / "events.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(operations\.[a-z._]+)` \|", page, re.MULTILINE)) == set(asyncapi.published())


def test_every_reference_leads_somewhere() -> None:
    found = references(WRITTEN)
    assert found
    for reference in found:
        place: Any = WRITTEN
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


@pytest.mark.parametrize("event_type", events.ALL)
def test_every_schema_takes_what_is_published_and_refuses_what_is_beside_it(event_type: str) -> None:
    schema = events.MEANINGS[event_type][1]
    Draft202012Validator.check_schema(WRITTEN["components"]["schemas"][event_type])
    data: dict[str, Any] = events.payload(job_id=UUID(int=1), job_type="ops.noop", status="queued", attempt=1)
    if event_type in {events.QUEUE_PAUSED, events.QUEUE_RESUMED}:
        data = {
            "pause_id": str(UUID(int=1)), "environment": "default", "tenant_id": None, "type": None, "until": None,
            "by": "operator",
        }  # fmt: skip
    Draft202012Validator(schema).validate(data)
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate({**data, "rows": [1]})
