"""The last chapter: a module's tables are migrated tenant by tenant, and the wave that a gate stops goes back.

The module is `airports`, with a schema for each tenant in a database of its own: real airports, those of the fifty
states at acme's, all there are at globex's. Its migration forgot the territories.
"""

import csv
import http.client
import http.cookiejar
import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psycopg
from psycopg import sql

from opsplatform.demo import data
from opsplatform.demo.callers import Module, module
from opsplatform.demo.story import INTACT, Stage, examined
from opsplatform.demo.telling import NotTrueError

FOLDER = Path(__file__).with_name("migrations")
PLANNED_WITHIN_S, OVER_WITHIN_S = 40, 90
TERRITORIES = frozenset({"NA", "PR", "VI", "CQ", "AS", "GU"})
HTTP_TIMEOUT_S = 10
TABLES = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.ops_schema_version (version text NOT NULL);
INSERT INTO {schema}.ops_schema_version VALUES ('1.4');
CREATE TABLE {schema}.airports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    iata text NOT NULL UNIQUE, name text NOT NULL, state text NOT NULL
);
"""
FACTS = """
SELECT (SELECT version FROM {schema}.ops_schema_version), count(*),
       (SELECT count(*) FROM information_schema.columns
         WHERE table_schema = {name} AND table_name = 'airports' AND column_name = 'region')
  FROM {schema}.airports
"""
LOCKS = "SELECT count(*) FROM migration_targets WHERE migration_id = %s AND holds"


def upgrade(stage: Stage) -> None:
    """Plan, have approved, upgrade acme, be stopped at globex, bring all of it back."""
    stage.tell.chapter("A module is migrated tenant by tenant, and stops itself")
    url = stage.witness.create_database("airports")
    _open_for(url, "acme", states_only=True)
    _open_for(url, "globex", states_only=False)
    _lay_secret(stage, url)
    operator = module(
        plane=stage.plane, name="airports-release", tenant="*", scopes=("migrations:run", "migrations:read")
    )
    before = {tenant: _facts(url, tenant) for tenant in ("acme", "globex")}
    stage.tell.say(
        f"airports 1.4 → 1.5: a column, a backfill, a check. acme has {before['acme'][1]} airports, globex "
        f"{before['globex'][1]}: those of the territories too."
    )
    asked = {
        "tenant_id": "sandbox",
        "definition": "airports",
        "version_to": "1.5",
        "targets": {"tenants": ["acme", "globex"]},
        "waves": [{"targets": ["acme"]}, {"targets": ["globex"]}],
    }
    migration_id = str(operator.post("/operations/migrate", asked, wanted=http.client.ACCEPTED)["id"])
    planned = _until(stage, operator, migration_id, {"awaiting_approval"}, within_s=PLANNED_WITHIN_S)
    _tell_plan(stage, planned)
    refused = operator.asked("POST", f"/operations/migrations/{migration_id}/approve", {})
    stage.tell.check(
        refused.status == http.client.FORBIDDEN,
        f"whoever asked cannot approve it, nor can any module: {refused.body.get('code')}",
        seen=refused.body,
    )
    Person(stage, "approver").post(f"/operations/migrations/{migration_id}/approve", {})
    stage.tell.true("the approver, a person who signed in, agreed to the plan: the first wave begins")
    stopped = _until(stage, operator, migration_id, {"paused"}, within_s=OVER_WITHIN_S)
    after = {tenant: _facts(url, tenant) for tenant in ("acme", "globex")}
    stage.tell.check(
        stopped["reason"]["code"] == "wave_reverted"
        and after == {"acme": ("1.5", before["acme"][1], 1), "globex": before["globex"]},
        "acme is verified at 1.5; at globex a gate found airports of no known region: the second wave was stopped and "
        "brought back, verified at 1.4, no row lost; the rest waits for a person",
        seen=(stopped["reason"], after),
    )
    _tell_waves(stage, stopped)
    operator.post(
        f"/operations/migrations/{migration_id}/revert",
        {"reason": "the territories were forgotten"},
        wanted=http.client.ACCEPTED,
    )
    _until(stage, operator, migration_id, {"reverted"}, within_s=OVER_WITHIN_S)
    stage.tell.check(
        {tenant: _facts(url, tenant) for tenant in ("acme", "globex")} == before
        and stage.witness.number(LOCKS, migration_id) == 0,
        "the operator brings it all back: both tenants verified at 1.4, as they were",
    )
    found = examined(stage, codes=INTACT)
    stage.tell.check(
        found["verdict"] == "intact" and found["by_predicate"].get("transition", 0) > 0,
        f"each of its {found['by_predicate'].get('transition')} transitions is evidence, with plan, approver, verdicts "
        "and schema digests: intact",
        seen=found["by_predicate"],
    )


def _open_for(url: str, tenant: str, *, states_only: bool) -> None:
    schema = sql.Identifier(f"airports_{tenant}")
    with (data.source() / "airports.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not (states_only and row["state"] in TERRITORIES)]
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(sql.SQL(TABLES).format(schema=schema))
        with session.cursor().copy(sql.SQL("COPY {}.airports (iata, name, state) FROM STDIN").format(schema)) as copy:
            for row in rows:
                copy.write_row((row["iata"], row["name"], row["state"]))


def _lay_secret(stage: Stage, url: str) -> None:
    """Say where the module's database is, as an operator does: in a file beside the plane's keys."""
    file = stage.plane.home / "keys" / "secrets.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({tenant: {"airports_database": url} for tenant in ("acme", "globex")}), encoding="utf-8")


def _facts(url: str, tenant: str) -> tuple[str, int, int]:
    """Return a tenant's version, how many airports it has, and how many columns are called region."""
    name = f"airports_{tenant}"
    query = sql.SQL(FACTS).format(schema=sql.Identifier(name), name=sql.Literal(name))
    with psycopg.connect(url, autocommit=True) as session:
        version, count, columns = session.execute(query).fetchone() or ("", 0, 0)
    return str(version), int(count), int(columns)


def _until(stage: Stage, operator: Module, migration_id: str, statuses: set[str], *, within_s: float) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def there() -> bool:
        found.update(operator.get(f"/operations/migrations/{migration_id}"))
        if found["status"] == "failed":
            raise NotTrueError(f"the migration should be {' or '.join(statuses)}; it failed: {found['reason']}")
        return found["status"] in statuses

    stage.tell.wait(there, for_what=f"waiting for the migration to be {' or '.join(statuses)}", within_s=within_s)
    return found


def _tell_plan(stage: Stage, planned: Mapping[str, Any]) -> None:
    plan = planned["plan"]
    rehearsal = plan["rehearsal"]
    locks = {
        each["name"]: ", ".join(sorted({lock["mode"] for lock in each["locks"]})) or "-" for each in rehearsal["steps"]
    }
    stage.tell.table(
        ("step", "phase", "rehearsed in ms", "strongest locks"),
        [
            (each["name"], phase_of(each["name"], plan), round(each["seconds"] * 1000), locks[each["name"]])
            for each in rehearsal["steps"]
            if each["direction"] == "up"
        ],
        left=frozenset({0, 1, 3}),
    )
    stage.tell.check(
        rehearsal["came_back"] is True and planned["risk"] == "medium",
        f"planned, and rehearsed up and down on a clone of a schema: it comes back; about "
        f"{plan['estimate']['duration_s']['likely']:.0f} s, risk medium, so a person has to approve",
        seen=rehearsal,
    )


def phase_of(name: str, plan: Mapping[str, Any]) -> str:
    """Return the phase of a plan's step."""
    return next(str(each["phase"]) for each in plan["steps"] if each["name"] == name)


def _tell_waves(stage: Stage, found: Mapping[str, Any]) -> None:
    stage.tell.table(
        ("target", "wave", "state", "read back"),
        [(each["target"], each["wave"] + 1, each["state"], each["version_after"] or "-") for each in found["targets"]],
        left=frozenset({0, 2, 3}),
    )


class Person:
    """Somebody who signed in to the plane's pages, as a browser would."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._url = stage.plane.url
        self._cookies = http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies)).open
        password = _password(stage.plane.home / "operator", name)
        self._ask("/admin/login/")
        form = {"username": name, "password": password, "next": "/admin/", "csrfmiddlewaretoken": self._token()}
        self._ask("/admin/login/", urllib.parse.urlencode(form).encode())
        if not any(cookie.name == "sessionid" for cookie in self._cookies):
            raise NotTrueError(f"{name} could not sign in")

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Send JSON; raise `NotTrueError` where it is refused."""
        self._ask(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _token(self) -> str:
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == "csrftoken"), "")

    def _ask(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
        asked = urllib.request.Request(self._url + path, data=body, headers=dict(headers or {}))  # noqa: S310 - loopback
        asked.add_header("Referer", self._url + path)
        if body is not None:
            asked.add_header("X-CSRFToken", self._token())
        try:
            with self._open(asked, timeout=HTTP_TIMEOUT_S) as answer:
                answer.read()
        except (HTTPError, OSError) as error:
            said = error.read().decode(errors="replace")[:300] if isinstance(error, HTTPError) else str(error)
            raise NotTrueError(f"{path} was refused: {said}") from error


def _password(file: Path, name: str) -> str:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.partition(" ")[0] == name:
            return line.partition(" ")[2]
    raise NotTrueError(f"{file} names no password of {name}")
