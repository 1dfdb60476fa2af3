"""Fault 18: what a caller gets wrong, or means ill, is a 400 or a 413 that names the place; the plane goes on."""

from __future__ import annotations

import gzip
import json

import pytest

from opsplatform.plane import Plane
from tests.support.client import Caller, Truth

SUBMIT = "/operations/jobs"
GOOD = b'{"type": "ops.noop", "params": {}}'


def job(params: bytes) -> bytes:
    return b'{"type": "ops.sleep", "params": ' + params + b"}"


BAD = {
    "100,000 deep": (job(b'{"a":' * 100_000), {}),
    "100,000 deep in a list": (b"[" * 100_000, {}),
    "duplicate keys": (job(b'{"seconds": 1, "seconds": 2}'), {}),
    "a number of 5,000 digits": (job(b'{"seconds": ' + b"9" * 5_000 + b"}"), {}),
    "an exponent without end": (job(b'{"seconds": 1e999999}'), {}),
    "NaN": (job(b'{"seconds": NaN}'), {}),
    "Infinity": (job(b'{"seconds": -Infinity}'), {}),
    "a lone surrogate": (rb'{"type": "ops.noop", "contract": "\ud800"}', {}),
    "NUL": (rb'{"type": "ops.noop", "contract": "\u0000"}', {}),
    "a gzip bomb": (gzip.compress(job(b'{"a": "' + b"x" * 50_000_000 + b'"}')), {"Content-Encoding": "gzip"}),
    "10,000 fields": (json.dumps({f"field_{n}": n for n in range(10_000)}).encode(), {}),
    "10,000 params": (job(json.dumps({f"field_{n}": n for n in range(10_000)}).encode()), {}),
    "more than a body may have": (job(b'{"a": "' + b"x" * 2**20 + b'"}'), {}),
    "no JSON": (b"seconds=1", {}),
    "no UTF-8": (b'{"type": "\xff"}', {}),
    "an unknown field": (b'{"type": "ops.noop", "prams": {}}', {}),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_body_is_refused_by_name_and_writes_nothing(
    caller: Caller, truth: Truth, plane: Plane, what: str
) -> None:
    body, headers = BAD[what]
    before, web = truth.one("SELECT count(*) FROM jobs"), plane.pid("web")
    answer = caller.request("POST", SUBMIT, content=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code in {400, 413}, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert told["code"]
    assert answer.status_code == 413 or all(error["field"] and error["message"] for error in told["errors"])
    assert truth.one("SELECT count(*) FROM jobs") == before
    assert plane.pid("web") == web
    after = caller.request("POST", SUBMIT, content=GOOD, headers={"Content-Type": "application/json"})
    assert after.status_code == 202, "the next caller pays for it"
