"""Whatever stands in a queue: a message, or nothing that a worker would mind."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from celery.worker.control import Panel

from workers import celery_patches

GOOD: dict[str, Any] = {
    "body": base64.b64encode(b"[[], {}, {}]").decode(),
    "headers": {"task": "ops.noop", "id": "1"},
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "properties": {"delivery_tag": "t", "delivery_info": {}, "body_encoding": "base64"},
}


def test_a_message_is_one() -> None:
    assert celery_patches.is_message(GOOD)


@pytest.mark.parametrize(
    "entry",
    [
        celery_patches.Junk(),
        [],
        {},
        None,
        "text",
        7,
        {**GOOD, "body": None},
        {**GOOD, "body": "not base64!"},
        {**GOOD, "headers": None},
        {**GOOD, "headers": []},
        {**GOOD, "headers": {**GOOD["headers"], "compression": "application/x-gzip"}},
        {**GOOD, "content-type": 1},
        {**GOOD, "properties": {}},
        {**GOOD, "properties": {**GOOD["properties"], "delivery_tag": None}},
        {**GOOD, "properties": {**GOOD["properties"], "body_encoding": "rot13"}},
        {**GOOD, "properties": {**GOOD["properties"], "delivery_info": "x"}},
    ],
)
def test_anything_else_is_none(entry: Any) -> None:
    assert not celery_patches.is_message(entry)


@pytest.mark.parametrize("text", ["not json", "\x80\x04", "", "{"])
def test_what_is_no_json_reads_as_junk(text: str) -> None:
    assert isinstance(celery_patches.loads(text), celery_patches.Junk)


def test_json_reads_as_ever() -> None:
    assert celery_patches.loads('{"a": [1]}') == {"a": [1]}


def test_no_order_that_changes_a_worker_is_left_after_the_repairs() -> None:
    celery_patches.install()
    assert set(Panel.data) <= celery_patches.ASKED
    assert {"ping", "active", "stats"} <= set(Panel.data)
