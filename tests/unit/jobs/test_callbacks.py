"""A callback's token: only the plane makes it, and it is about one job of one tenant."""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

import pytest

from apps.jobs import callbacks

KEY = b"k" * 32
JOB = "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00"
OTHER = "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f01"
TOKEN = callbacks.token(job_id=JOB, tenant_id="acme", key=KEY)


def test_what_the_plane_made_says_whose_job_it_is_about() -> None:
    assert callbacks.read(TOKEN, key=KEY) == (UUID(JOB), "acme")
    assert callbacks.token(job_id=JOB, tenant_id="acme", key=KEY) == TOKEN, "the same at every attempt"


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "..",
        "\ud800",
        TOKEN + "A",
        TOKEN[:-1],
        TOKEN.rpartition(".")[0] + ".",
        TOKEN.replace("acme", "globex"),
        TOKEN.replace(JOB, OTHER),
        TOKEN.replace(JOB, JOB.upper()),
        TOKEN.rpartition(".")[0] + ".é",
        callbacks.token(job_id=JOB, tenant_id="acme", key=b"x" * 32),
        f"{JOB}.acme.{hmac.new(KEY, f'{JOB}.acme'.encode(), hashlib.sha256).hexdigest()}",
    ],
)
def test_what_it_did_not_make_is_refused(forged: str) -> None:
    with pytest.raises(callbacks.BadTokenError):
        callbacks.read(forged, key=KEY)
