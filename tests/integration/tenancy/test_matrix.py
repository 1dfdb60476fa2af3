"""Every route × a foreign tenant, out of the OpenAPI document: a new route is asked without being listed here.

Globex has one of everything; acme's module, which may do everything for acme, asks for it by every id, filter, cursor
and body. It learns nothing, changes nothing, and cannot tell what is another's from what is not there.

What both have is made once for all these tests: that none of them changes it is what they are about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from pytest_django import DjangoDbBlocker

from apps.core.ids import uuid7
from apps.events.operations import number_committed
from apps.evidence.heads import Heads
from apps.jobs import callbacks
from apps.jobs.operations import metering
from apps.jobs.operations.run import report
from apps.migrations.operations import asking
from apps.tenancy import keys
from apps.tenancy.context import across_tenants, in_tenant
from apps.tenancy.principals import SCOPES
from apps.webhooks.operations import following
from opsplatform import roles
from tests.integration.conftest import Look
from tests.support import campaigns, migrations
from tests.support.api import Module, said
from tests.support.broom import Broom
from tests.support.database import InRole, entering, swept
from tests.support.openapi import Operation, operations
from tests.support.work import claimed, finish, naming, worker
from workers import submitter
from workers.notifier import Notifier
from workers.sealer import Sealer

EVERYTHING = " ".join(sorted(SCOPES))
# What stands in a path and is the platform's: everybody may name it.
SHARED = {"environment": "default"}
# Asked here by their body: they have neither a path nor a `tenant_id` that would say whose they are.
AUTHZEN = "/operations/authzen/"
# Asked at the end by what is in its path: a proof of its own, which says whose job it is about; no token is looked at.
CALLBACK = "/operations/callbacks/{token}"
OPERATIONS = [each for each in operations() if not each.path.startswith(AUTHZEN) and each.path != CALLBACK]
OWNED = [each for each in OPERATIONS if set(each.in_path) - set(SHARED)]
LISTS = [each for each in OPERATIONS if each.method == "GET" and each not in OWNED]
NAMING = [each for each in OPERATIONS if "tenant_id" in (each.body or {}).get("properties", {})]

Ids = dict[str, str]


def is_of(tenant: str, in_role: InRole, *, heads: Heads) -> Ids:
    """Leave one of everything in a tenant; return path parameter → its id."""
    module, name = Module(tenant, scope=EVERYTHING), f"made by {tenant}"
    webhook = said(
        module.post(
            {"url": f"https://{tenant}.example.org/", "event_types": ["operations.*"], "description": name},
            path="/operations/webhooks",
        ),
        201,
    )
    job = {"type": "ops.noop"}
    schedule = said(module.post({"name": name, "cron": "@daily", "job": job}, path="/operations/schedules"), 201)
    backfill = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    said(module.post(backfill, path=f"/operations/schedules/{schedule['schedule_id']}/backfill"), 202)
    wanted = {"name": name, "event_type": "operations.job.completed", "job": job}
    trigger = said(module.post(wanted, path="/operations/triggers"), 201)
    for _ in range(2):  # refused, and alike
        said(module.post({"type": "kpi.refresh"}, path="/operations/jobs"), 403)
    asked = {**job, "concurrency_key": name}
    job_id = said(module.post(asked, path="/operations/jobs", **{"Idempotency-Key": f"of-{tenant}"}), 202)["job_id"]
    said(module.post({"tenant_id": tenant, "reason": name}, path="/operations/queues/batch/pause"))
    ticket = {"issue": name, "module": name, "assignee": tenant, "dedup_key": "the-same"}
    ticket_id = said(module.post(ticket, path="/operations/ticket"), 201)["id"]
    with in_role("control"):
        with across_tenants():
            run = claimed(UUID(job_id), worker_id=worker())
            report(**naming(run), progress=None, first_line=1, lines=[["t", "info", name, {}]])
            finish(run)
            number_committed(limit=500)
            following.follow()
            metering.meter()
            sealer = Sealer(heads=heads)
            while sealer.step() == 0.0:
                pass
        submitter.step()
    part = {"module": f"module-of-{tenant}", "component": f"component-of-{tenant}", "latency_ms": 1}
    said(module.post(part, path="/operations/health/heartbeats"), 202)
    (delivery, *_) = said(module.get(f"/operations/webhooks/{webhook['webhook_id']}/deliveries"))["items"]
    told = said(module.post({"summary": name, "dedup_key": "the-same"}, path="/operations/notify"), 202)
    with in_role("control"), across_tenants():
        Notifier().step()
    receipt = said(module.get(f"/operations/jobs/{job_id}"))["evidence"]
    return {
        "job_id": job_id,
        "record_id": receipt["ref"],
        "schedule_id": schedule["schedule_id"],
        "trigger_id": trigger["trigger_id"],
        "ticket_id": ticket_id,
        "webhook_id": webhook["webhook_id"],
        "delivery_id": delivery["delivery_id"],
        "module": part["module"],
        "component": part["component"],
        "notification_id": told["notification_id"],
        "migration_id": migrated(module, tenant, in_role),
    }


def migrated(module: Module, tenant: str, in_role: InRole) -> str:
    """Leave a migration with a plan, a target of the tenant's own and somebody's approval; return its id."""

    @contextmanager
    def control() -> Iterator[None]:
        with in_role("control"), across_tenants():
            yield

    migration_id: str = campaigns.asked(module, tenant)["id"]
    campaigns.planned(control, migration_id, [tenant], approvals=2)
    with in_tenant(tenant):
        asking.approve(migration_id=UUID(migration_id), by=f"a person of {tenant}")
    return migration_id


@pytest.fixture(scope="module")
def db(django_db_blocker: DjangoDbBlocker, broom: Broom) -> Iterator[None]:
    """The database, swept when all are through."""
    with swept(django_db_blocker, broom):
        yield


@pytest.fixture(scope="module")
def in_role(db: None) -> InRole:
    """Return a context that connects under another database role."""
    return entering


@pytest.fixture(scope="module", autouse=True)
def definitions(db: None) -> Iterator[None]:
    """What can be migrated here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, migrations=(migrations.ROOT,)))
        yield


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Heads:
    """The sealer's memory outside the database."""
    return Heads(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def theirs(db: None, in_role: InRole, heads: Heads) -> Ids:
    """What globex has."""
    return is_of("globex", in_role, heads=heads)


@pytest.fixture(scope="module")
def mine(db: None, in_role: InRole, heads: Heads) -> Ids:
    """What acme has."""
    return is_of("acme", in_role, heads=heads)


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module, which may do everything for acme."""
    return Module("acme", scope=EVERYTHING)


@pytest.fixture
def nothing_changes(theirs: Ids, look: Look) -> Iterator[None]:
    """Compare every row of globex before and after."""

    def rows() -> dict[str, list[Any]]:
        query = "SELECT md5(t::text) AS row FROM {} t WHERE tenant_id = 'globex' ORDER BY 1"
        return {table: look(query.format(table)) for table in roles.TENANT_OWNED}

    before = rows()
    yield
    assert rows() == before


def told(answer: Any) -> tuple[int, Any]:
    """Return an answer's status and body, without what differs from request to request."""
    body = json.loads(answer.content) if answer.content else None
    for name in ("instance", "request_id"):
        if isinstance(body, dict):
            body.pop(name, None)
    return answer.status_code, body


def ids_of(operation: Operation, theirs: Ids) -> Ids:
    return {name: SHARED.get(name) or theirs[name] for name in operation.in_path}


def test_the_document_has_routes_of_every_kind() -> None:
    assert len(OPERATIONS) > 40
    assert {str(each) for each in OWNED} > {"GET /operations/jobs/{job_id}", "DELETE /operations/webhooks/{webhook_id}"}
    assert {str(each) for each in LISTS} > {"GET /operations/events", "GET /operations/usage"}
    assert {str(each) for each in NAMING} > {"POST /operations/jobs", "POST /operations/queues/{environment}/pause"}


def test_the_other_tenant_has_one_of_everything_that_a_path_names(theirs: Ids, look: Look) -> None:
    """A new kind of thing has to be made in `is_of`, or its routes would be asked about nothing."""
    assert {name for each in OPERATIONS for name in each.in_path} == set(theirs) | set(SHARED)
    empty = [
        table for table in roles.TENANT_OWNED if not look(f"SELECT 1 FROM {table} WHERE tenant_id = 'globex' LIMIT 1")
    ]
    # Forecasts are written when somebody asks why, waits by the scheduler each second; no route lists either.
    # Legal holds and SLA policies are an operator's; impacts and recoveries are written while something is not well,
    # by the watcher; an attempt is made where a channel is spoken to, and the inbox is not.
    by_others = {"job_dependencies", "start_predictions", "gate_intervals", "legal_holds", "sla_policies"}
    by_others |= {"failed_reactions", "evidence_emissions", "evidence_outlets"}
    assert set(empty) <= by_others | {"health_impacts", "recovery_receipts", "notification_attempts"}


@pytest.mark.parametrize("operation", OWNED, ids=str)
@pytest.mark.usefixtures("nothing_changes")
def test_what_is_another_tenants_is_not_there(operation: Operation, theirs: Ids, acme: Module) -> None:
    nowhere = {name: str(uuid7()) for name in theirs}
    for query in ({}, {"tenant_id": "globex"}, {"tenant_id": "acme"}):
        if set(query) - set(operation.in_query):
            continue
        answers = [
            told(acme.send(operation.method, operation.at(**ids_of(operation, ids)), operation.takes(), **query))
            for ids in (theirs, nowhere)
        ]
        assert answers[0][0] == 404, (query, answers[0])
        assert answers[0][1]["code"] == "not_found"
        assert answers[0] == answers[1], "another's must read as one that is not there"


@pytest.mark.parametrize("operation", [each for each in OWNED if len(each.in_path) > 1], ids=str)
@pytest.mark.usefixtures("mine", "nothing_changes")
def test_what_is_another_tenants_is_not_there_below_something_of_ones_own(
    operation: Operation, mine: Ids, theirs: Ids, acme: Module
) -> None:
    for foreign in operation.in_path:
        ids = {**mine, foreign: theirs[foreign]}
        status, body = told(acme.send(operation.method, operation.at(**ids_of(operation, ids)), operation.takes()))
        assert (status, body["code"]) == (404, "not_found"), foreign


@pytest.mark.parametrize("operation", LISTS, ids=str)
@pytest.mark.usefixtures("mine", "nothing_changes")
def test_no_list_tells_of_another_tenant_whatever_it_is_asked(operation: Operation, theirs: Ids, acme: Module) -> None:
    path = operation.at(**ids_of(operation, theirs))
    answer = acme.get(path)
    assert answer.status_code == 200 or (answer.status_code == 400 and operation.in_query), "a question may need words"
    is_silent(answer, theirs)
    if "tenant_id" in operation.in_query:
        assert told(acme.get(path, tenant_id="globex"))[0] == 404
    for name in operation.in_query:
        for value in [*theirs.values(), "made by globex", "0"]:
            asked = acme.get(path, **{name: value})
            assert asked.status_code in {200, 400, 404}, (name, value, asked.content)
            is_silent(asked, theirs)


def is_silent(answer: Any, theirs: Ids) -> None:
    """Find nothing of the other tenant's in an answer: neither its name nor an id."""
    text = answer.content.decode()
    assert "globex" not in text, text
    assert [each for each in theirs.values() if each in text] == []


@pytest.mark.parametrize("operation", NAMING, ids=str)
@pytest.mark.usefixtures("nothing_changes")
def test_no_body_acts_for_another_tenant(operation: Operation, theirs: Ids, acme: Module) -> None:
    path = operation.at(**ids_of(operation, theirs))
    there, nowhere = (
        told(acme.send(operation.method, path, {**operation.takes(), "tenant_id": tenant}))
        for tenant in ("globex", "no-such-tenant")
    )
    assert there[0] == 404, there
    assert there == nowhere


@pytest.mark.usefixtures("nothing_changes")
def test_no_batch_acts_for_another_tenant(acme: Module, theirs: Ids) -> None:
    jobs = [{"type": "ops.noop", "tenant_id": tenant} for tenant in ("globex", "acme")]
    results = said(acme.post({"jobs": jobs}, path="/operations/jobs/batch"), 202)["results"]
    assert [each["status"] for each in results] == [404, 202]
    waiting = {"type": "ops.noop", "depends_on": {"jobs": [theirs["job_id"]]}}
    (result,) = said(acme.post({"jobs": [waiting]}, path="/operations/jobs/batch"), 202)["results"]
    assert result["status"] == 400


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize(
    "path", [each.path for each in operations() if each.path.startswith(AUTHZEN)], ids=lambda path: path
)
def test_no_decision_is_told_about_another_tenant(path: str, acme: Module) -> None:
    question = {
        "subject": {"type": "module", "id": "data-acquisition"},
        "action": {"name": "operations.submit"},
        "resource": {"type": "ops.noop", "id": "none", "properties": {"tenant": "globex"}},
    }
    body = {"evaluations": [question]} if path.endswith("s") else question
    answer = acme.post(body, path=path)
    if answer.status_code == 200:
        (one,) = answer.json()["evaluations"]
        assert one == {"decision": False, "context": {"error": {"status": 404, "message": "there is no such tenant"}}}
    else:
        assert told(answer)[0] == 404
    mine = json.loads(json.dumps(body).replace("globex", "acme"))
    assert acme.post(mine, path=path).status_code == 200, "the question must fail for its tenant alone"


@pytest.mark.usefixtures("nothing_changes")
def test_a_key_of_another_tenants_repeats_no_answer_of_it(acme: Module, theirs: Ids) -> None:
    answer = acme.post({"type": "ops.noop"}, path="/operations/jobs", **{"Idempotency-Key": "of-globex"})
    assert said(answer, 202)["tenant_id"] == "acme"
    assert "Idempotent-Replayed" not in answer


@pytest.mark.usefixtures("nothing_changes")
def test_no_callback_reaches_another_tenants_job(acme: Module, theirs: Ids) -> None:
    assert [str(each) for each in operations() if each.path == CALLBACK] == [f"POST {CALLBACK}"]
    # A proof that the plane itself made, of acme, about a job of globex: the second wall is asked too.
    for job_id in (theirs["job_id"], str(uuid7())):
        token = callbacks.token(job_id=job_id, tenant_id="acme", key=keys.message_key())
        assert told(acme.post({}, path=CALLBACK.format(token=token)))[0] == 404
