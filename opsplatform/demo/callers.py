"""How the demo reaches the plane: as modules over HTTP, and, to check what it was told, the database and the stream."""

import http.client
import json
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg import sql
from psycopg.rows import dict_row

from opsplatform.demo.telling import NotTrueError
from opsplatform.plane import CHECKOUT, Plane

HTTP_TIMEOUT_S = 10
COMMAND_TIMEOUT_S = 60
SCOPES = ("jobs:submit", "jobs:read", "notify:read", "tickets:write")
STREAM = "operations.events"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the API answered; `body` is its JSON."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module of a tenant's, with the token that `issue_token` made for it."""

    name: str
    tenant: str
    url: str
    token: str

    def submit(self, **job: Any) -> Answer:
        """Submit a job for the tenant."""
        return self._ask("POST", "/operations/jobs", {"tenant_id": self.tenant, **job})

    def accepted(self, **job: Any) -> str:
        """Submit a job; return its id, or raise `NotTrueError` if it was not accepted."""
        answer = self.submit(**job)
        if answer.status != http.HTTPStatus.ACCEPTED:
            raise NotTrueError(f"{job['type']} was not accepted: {answer.status} {answer.body}")
        return str(answer.body["job_id"])

    def job(self, job_id: str) -> Answer:
        """Read a job."""
        return self._ask("GET", f"/operations/jobs/{job_id}")

    def get(self, path: str) -> dict[str, Any]:
        """Read what is at `path`; raise `NotTrueError` where that is refused."""
        answer = self._ask("GET", path)
        if answer.status != http.HTTPStatus.OK:
            raise NotTrueError(f"GET {path} was refused: {answer.status} {answer.body}")
        return answer.body

    def asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Ask something, whatever is answered."""
        return self._ask(method, path, body)

    def post(self, path: str, body: Mapping[str, Any], *, wanted: int = http.HTTPStatus.OK) -> dict[str, Any]:
        """Send `body` to `path`; raise `NotTrueError` where it is answered otherwise than by `wanted`."""
        answer = self._ask("POST", path, body)
        if answer.status != wanted:
            raise NotTrueError(f"POST {path} was refused: {answer.status} {answer.body}")
        return answer.body

    def timeline(self, job_id: str) -> list[dict[str, Any]]:
        """Read a job's story, oldest first."""
        return list(self._ask("GET", f"/operations/jobs/{job_id}/timeline").body["items"])

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=HTTP_TIMEOUT_S)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return Answer(status=answer.status, body=json.loads(answer.read()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotTrueError(f"{method} {path} was not answered: {type(error).__name__}: {error}") from error
        finally:
            connection.close()


def module(*, plane: Plane, name: str, tenant: str, scopes: Sequence[str] = SCOPES) -> Module:
    """Return the module `name` of `tenant`, with a fresh token for its jobs, its alerts and its tickets."""
    words = [word for scope in scopes for word in ("--scope", scope)]
    token = manage(plane=plane, words=["issue_token", "--subject", name, "--tenant", tenant, *words])
    return Module(name=name, tenant=tenant, url=plane.url, token=token.strip())


def manage(*, plane: Plane, words: list[str], codes: frozenset[int] = frozenset({0})) -> str:
    """Run `manage.py` on the plane's home and return what it printed; raise `NotTrueError` on any other exit code."""
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=CHECKOUT,
        env=plane.variables,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if done.returncode not in codes:
        raise NotTrueError(f"manage.py {words[0]} ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


class Witness:
    """Looks behind the API: the rows and the stream themselves. Reads under the role that may see every tenant."""

    def __init__(self, *, plane: Plane) -> None:
        status = json.loads(manage(plane=plane, words=["status", "--json"]))
        services = json.loads((plane.home / "run" / "services.json").read_text(encoding="utf-8"))
        self.status: dict[str, Any] = status
        self._rows = psycopg.connect(
            status["addresses"]["database"], options="-c role=ops_control", autocommit=True, row_factory=dict_row
        )
        self._stream = redis.Redis.from_url(status["addresses"]["broker"], decode_responses=True, socket_timeout=5)
        self._superuser_url: str = urlunsplit(urlsplit(services["superuser_url"])._replace(path="/ops"))

    def close(self) -> None:
        """Close both connections."""
        self._rows.close()
        self._stream.close()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        return self._rows.execute(query.encode(), values).fetchall()

    def number(self, query: str, *values: Any) -> int:
        """Return the only value of a query that counts."""
        ((value,),) = (row.values() for row in self.rows(query, *values))
        return int(value)

    def clock(self) -> datetime:
        """Return the database's time, which every stamp of the plane is taken from."""
        ((now,),) = (row.values() for row in self.rows("SELECT clock_timestamp()"))
        return cast("datetime", now)

    def events(self) -> list[dict[str, Any]]:
        """Return the CloudEvents in the stream, in its order."""
        # redis-py declares the answer for sync and async clients alike; ours is sync
        entries: Any = self._stream.xrange(STREAM)
        return [json.loads(fields["event"]) for _, fields in entries]

    def create_database(self, name: str) -> str:
        """Make a database beside the plane's, with a role of its own that owns it, and return where it is."""
        password, owner = secrets.token_urlsafe(18), sql.Identifier(name)
        with psycopg.connect(self._superuser_url, autocommit=True) as superuser:
            superuser.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(owner, sql.Literal(password)))
            superuser.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(owner, owner))
        place = urlsplit(self._superuser_url)
        host = place.netloc.rpartition("@")[2]
        return str(urlunsplit(place._replace(netloc=f"{name}:{password}@{host}", path=f"/{name}")))

    def tamper(self, query: str, *values: Any) -> int:
        """Change rows as PostgreSQL's superuser, whom no role and no policy stops; return how many."""
        with psycopg.connect(self._superuser_url, autocommit=True) as superuser:
            return superuser.execute(query.encode(), values).rowcount
