"""A caller of a running plane: tokens, HTTP and waiting; and its database, read past every wall."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from psycopg.rows import dict_row

from tests.support.tokens import token

DEADLINE_S = 60.0
SOONEST_S, LATEST_S = 0.05, 0.25  # between two looks at what is awaited
TERMINAL = {"succeeded", "failed", "cancelled", "timed_out", "rejected"}
Found = TypeVar("Found")


def wait_for(ask: Callable[[], Found | None], *, what: str, within_s: float = DEADLINE_S) -> Found:
    """Return the first answer of `ask` that says something; fail after `within_s`, naming what was awaited.

    None, False and an empty list all mean "not yet". What comes late is asked for less often: who asks works as well.
    """
    began = time.monotonic()
    while True:
        found = ask()
        if found:
            return found
        waited_s = time.monotonic() - began
        if waited_s > within_s:
            raise AssertionError(f"not within {within_s:.0f} s: {what}")
        time.sleep(min(max(SOONEST_S, waited_s / 20), LATEST_S))  # the one pause of a wait on a condition


def messages(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a stream of server-sent events, as a browser would hear them."""
    found: dict[str, Any] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if not line and "data" in found:
            yield {**found, "data": json.loads(found["data"])}
        if not line:
            found = {}
        elif name and colon:
            found[name] = value


class Caller:
    """A module's client of the API at `url`, signing with the keys of `home`."""

    def __init__(
        self,
        *,
        url: str,
        home: Path,
        tenants: Sequence[str] = ("acme",),
        scope: str = "jobs:submit jobs:read events:read",
        subject: str = "data-acquisition",
    ) -> None:
        self._home = home
        self._tenants = list(tenants)
        self._scope = scope
        self._subject = subject
        self.ttl_s = 600
        self._http = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request with a fresh token."""
        held = token(home=self._home, tenants=self._tenants, scope=self._scope, subject=self._subject)
        return self._http.request(
            method, path, headers={"Authorization": f"Bearer {held}", **more.pop("headers", {})}, **more
        )

    @contextmanager
    def stream(
        self, path: str, *, patient: bool = True, headers: Mapping[str, str] | None = None
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """Open a stream of server-sent events; yield its messages as {id, event, data}, beats left out.

        A process whose streams are all taken refuses; which process takes a connection is the kernel's choice, and a
        stream that was just left is noticed a moment later. So a `patient` caller tries again, each time anew.
        """
        held = token(home=self._home, tenants=self._tenants, scope=self._scope, ttl_s=self.ttl_s, subject=self._subject)
        wanted = {
            "Authorization": f"Bearer {held}",
            "Accept": "text/event-stream",
            "Connection": "close",
            **(headers or {}),
        }
        until = time.monotonic() + (15 if patient else 0)
        with ExitStack() as opened:
            answer = opened.enter_context(self._http.stream("GET", path, headers=wanted))
            while answer.status_code in {429, 503} and time.monotonic() < until:
                opened.close()
                time.sleep(0.1)  # the pause of a wait on a condition, as in `wait_for`
                answer = opened.enter_context(self._http.stream("GET", path, headers=wanted))
            if answer.status_code != 200:
                answer.read()
            assert answer.status_code == 200, answer.text
            assert answer.headers["Content-Type"] == "text/event-stream"
            yield messages(answer.iter_lines())

    def submit(self, type: str, params: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:  # noqa: A002
        """Submit a job that must be admitted; return it."""
        answer = self.request("POST", "/operations/jobs", json={"type": type, "params": params or {}, **more})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def job(self, job_id: str) -> dict[str, Any]:
        """Read a job."""
        answer = self.request("GET", f"/operations/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, job_id: str, *, status: str | None = None, within_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait until the job is in `status`, or over; a plane that is away for a moment is asked again."""

        def there() -> dict[str, Any] | None:
            try:
                answer = self.request("GET", f"/operations/jobs/{job_id}")
            except httpx.TransportError:
                return None
            if answer.status_code != 200:
                assert answer.status_code in {502, 503}, answer.text
                return None
            job = dict(answer.json())
            return job if (job["status"] == status if status else job["status"] in TERMINAL) else None

        return wait_for(there, what=f"job {job_id} {status or 'over'}", within_s=within_s)


class Truth:
    """What PostgreSQL holds, read by its superuser."""

    def __init__(self, *, url: str) -> None:
        self._url = url

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with psycopg.connect(self._url, row_factory=dict_row, autocommit=True, connect_timeout=2) as session:
            return session.execute(query.encode(), values).fetchall()

    def one(self, query: str, *values: Any) -> dict[str, Any]:
        """Return the only row of a query."""
        (row,) = self.rows(query, *values)
        return row

    def execute(self, statement: str, *values: Any) -> None:
        """Change something behind everybody's back."""
        with psycopg.connect(self._url, autocommit=True) as session:
            session.execute(statement.encode(), values)
