"""The page for receivers: its example takes what the plane signs and nothing else."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from apps.core import standard_webhooks

PAGE = (Path(settings.BASE_DIR) / "docs/webhooks.md").read_text(encoding="utf-8")
SECRET = standard_webhooks.encoded(b"k" * 32)
BODY = b'{"id": "1"}'


@pytest.fixture
def verify() -> Any:
    """The function as it stands in the page."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, Any] = {}
    exec(example, found)  # noqa: S102 - the page's own example
    assert len(example.strip().splitlines()) <= 15
    return found["verify"]


def signed(*, at: float, body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> dict[str, str]:
    return standard_webhooks.signed(body, message_id="1", secrets=secrets, at=int(at))


def test_what_the_plane_signs_is_taken_by_either_secret(verify: Any) -> None:
    assert verify(SECRET, signed(at=time.time()), BODY)
    other = standard_webhooks.encoded(b"o" * 32)
    both = signed(at=time.time(), secrets=(other, SECRET))
    assert verify(SECRET, both, BODY)
    assert verify(other, both, BODY)


def test_everything_else_is_not(verify: Any) -> None:
    now = time.time()
    assert not verify(SECRET, signed(at=now), BODY + b" ")
    assert not verify(SECRET, signed(at=now - 600), BODY)
    assert not verify(SECRET, {**signed(at=now), "webhook-id": "2"}, BODY)
    assert not verify(SECRET, {**signed(at=now), "webhook-timestamp": "x"}, BODY)
    assert not verify(standard_webhooks.encoded(b"o" * 32), signed(at=now), BODY)
