"""A person who signed in to a plane's pages, as a browser would, and asks its API."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx


class Person:
    """One of the people whose passwords lie in `OPS_HOME/operator`."""

    def __init__(self, *, url: str, home: Path, name: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30, headers={"Referer": f"{url}/"})
        self._name = name
        self._home = home

    def __enter__(self) -> Self:
        lines = dict(line.split(" ", 1) for line in (self._home / "operator").read_text().splitlines())
        self._http.get("/admin/login/")
        form = {"username": self._name, "password": lines[self._name], "csrfmiddlewaretoken": self._token}
        assert self._http.post("/admin/login/", data=form).status_code == 302, "could not sign in"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def post(self, path: str, **body: Any) -> httpx.Response:
        """Send JSON, as a page of the plane's own would."""
        return self._http.post(path, json=body, headers={"X-CSRFToken": self._token})

    @property
    def _token(self) -> str:
        return self._http.cookies.get("csrftoken") or ""
