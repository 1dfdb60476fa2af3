"""What a tenant's token learns of another tenant over HTTP: nothing; and what tokens for several may do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from apps.core.ids import uuid7
from tests.integration.conftest import Change, Look
from tests.support.api import JOBS, Module, fields, refused, said
from tests.support.work import admitted, only


def nothing_written(look: Look) -> bool:
    return bool(only(look("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM events) AS rows"))["rows"] == 0)


def addresses_of_a_job(under: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every route with a job's id in it, and its view class: new ones are tested without being asked."""
    for each in (under or get_resolver()).url_patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from addresses_of_a_job(each, route)
        elif isinstance(each, URLPattern) and "job_id>" in route and hasattr(each.callback, "cls"):
            yield "/" + route, each.callback.cls


class TestAnotherTenant:
    """Reads and changes nothing, and cannot tell what is another's from what is not there."""

    def test_is_told_of_a_job_what_it_is_told_of_none_on_every_route(self, acme: Module, globex: Module) -> None:
        job_id, routes = admitted(tenant="acme"), list(addresses_of_a_job())
        assert {route for route, _ in routes} >= {
            "/operations/jobs/<str:job_id>",
            "/operations/jobs/<str:job_id>/timeline",
        }
        for route, view in routes:
            for method in view.required_scopes:
                problems = []
                for each in (job_id, uuid7()):
                    answer = globex.ask(method, route.replace("<str:job_id>", str(each)))
                    problem = refused(answer, 404, "not_found")
                    assert str(each) in problem.pop("instance")
                    del problem["request_id"]
                    problems.append((problem, sorted(answer.headers)))
                assert problems[0] == problems[1], (route, method)
                if method == "GET":
                    assert acme.ask(method, route.replace("<str:job_id>", str(job_id))).status_code == 200

    def test_finds_no_job_of_it_by_any_filter_or_cursor(self, acme: Module, globex: Module) -> None:
        theirs, own = str(admitted(tenant="acme")), str(admitted(tenant="globex"))
        newer = str(admitted(tenant="acme"))
        assert globex.ids() == [own]
        assert globex.ids(type="ops.noop", status="queued", limit=200) == [own]
        assert globex.ids(cursor=newer) == [own]
        assert globex.ids(cursor=theirs) == []
        assert said(globex.get(JOBS, limit=1))["next"] is None, "not even that there is more"

    def test_is_told_that_there_is_no_such_tenant(self, globex: Module, look: Look) -> None:
        answers = []
        for tenant in ("acme", "nobody"):
            for answer in (globex.get(JOBS, tenant_id=tenant), globex.post({"type": "ops.noop", "tenant_id": tenant})):
                problem = refused(answer, 404, "not_found")
                del problem["request_id"]
                answers.append(problem)
        assert all(each == answers[0] for each in answers)
        assert nothing_written(look)

    def test_is_told_of_a_contract_of_it_what_it_is_told_of_none(self, globex: Module, change: Change) -> None:
        change("UPDATE plans SET job_types = '{*}'")
        change("UPDATE contracts SET tenants = '{acme}'")
        told = [
            refused(globex.post({"type": "kpi.refresh", "contract": name}), 403, "contract_unknown")["reason"].replace(
                name, ""
            )
            for name in ("kpi.seattle-rain@1", "kpi.none@1")
        ]
        assert told[0] == told[1]

    def test_is_told_of_an_environment_of_it_what_it_is_told_of_none(self, globex: Module, change: Change) -> None:
        change("UPDATE environments SET allowed_tenants = '{acme}' WHERE name = 'batch'")
        told = [
            refused(globex.post({"type": "ops.noop", "environment": name}), 400, "invalid_fields")["errors"][0][
                "message"
            ].replace(name, "")
            for name in ("batch", "moon")
        ]
        assert told[0] == told[1]

    def test_does_not_spend_its_limits(self, acme: Module, globex: Module, change: Change) -> None:
        change("UPDATE plans SET jobs_per_day = 1, backlog_cap = 1")
        said(acme.post({"type": "ops.noop"}), 202)
        said(globex.post({"type": "ops.noop"}), 202)


class TestTokensForSeveral:
    """A platform module's token names several tenants, or all."""

    @pytest.mark.parametrize("tenants", [("acme", "globex"), ("*",)])
    def test_must_say_for_whom_they_submit(self, look: Look, tenants: tuple[str, ...]) -> None:
        assert fields(refused(Module(*tenants).post({"type": "ops.noop"}), 400, "tenant_required")) == ["tenant_id"]
        assert nothing_written(look)

    @pytest.mark.parametrize("tenants", [("acme", "globex"), ("*",)])
    def test_submit_for_whom_they_say_and_for_nobody_else(self, look: Look, tenants: tuple[str, ...]) -> None:
        caller = Module(*tenants)
        assert said(caller.post({"type": "ops.noop", "tenant_id": "globex"}), 202)["tenant_id"] == "globex"
        refused(caller.post({"type": "ops.noop", "tenant_id": "nobody"}), 404, "not_found")
        if "*" not in tenants:
            refused(caller.post({"type": "ops.noop", "tenant_id": "sandbox"}), 404, "not_found")
        assert [row["tenant_id"] for row in look("SELECT tenant_id FROM jobs")] == ["globex"]

    @pytest.mark.parametrize(
        ("tenants", "sees"),
        [
            (("acme", "globex"), {"acme", "globex"}),
            (("*",), {"acme", "globex", "sandbox"}),
            (("sandbox",), {"sandbox"}),
        ],
    )
    def test_read_one_history_of_all_their_tenants_newest_first(
        self, db: None, tenants: tuple[str, ...], sees: set[str]
    ) -> None:
        made = [(str(admitted(tenant=tenant)), tenant) for tenant in ("acme", "globex", "sandbox", "globex", "acme")]
        caller, expected = Module(*tenants), [job_id for job_id, tenant in reversed(made) if tenant in sees]
        assert caller.ids() == expected
        for tenant in sees:
            assert caller.ids(tenant_id=tenant) == [job_id for job_id, owner in reversed(made) if owner == tenant]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        for _ in expected:
            page = said(caller.get(JOBS, limit=1, **cursor))
            seen += [each["job_id"] for each in page["items"]]
            cursor = {"cursor": page["next"] or ""}
        assert seen == expected
        assert cursor == {"cursor": ""}

    @pytest.mark.parametrize("tenants", [("acme", "globex"), ("*",)])
    def test_read_a_job_of_any_of_their_tenants(self, db: None, tenants: tuple[str, ...]) -> None:
        caller = Module(*tenants)
        for tenant in ("acme", "globex"):
            job_id = admitted(tenant=tenant)
            job = said(caller.get(f"{JOBS}/{job_id}"))
            assert job["tenant_id"] == tenant
            assert job["decision"]["governance"]["allowed"] is True
            assert len(said(caller.get(f"{JOBS}/{job_id}/timeline"))["items"]) == 4
        refused(caller.get(f"{JOBS}/{uuid7()}"), 404, "not_found")

    def test_that_name_two_do_not_read_a_thirds(self, db: None) -> None:
        refused(Module("acme", "globex").get(f"{JOBS}/{admitted(tenant='sandbox')}"), 404, "not_found")

    def test_that_name_very_many_say_which_and_then_read_a_job(self, db: None) -> None:
        caller, job_id = Module("acme", *(f"tenant-{n}" for n in range(40))), admitted()
        assert fields(refused(caller.get(JOBS), 400, "invalid_fields")) == ["tenant_id"]
        assert caller.ids(tenant_id="acme") == [str(job_id)]
        assert fields(refused(caller.get(f"{JOBS}/{job_id}"), 400, "invalid_fields")) == ["tenant_id"]
        for path in (f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/timeline"):
            assert said(caller.get(path, tenant_id="acme"))["job_id"] == str(job_id)
            refused(caller.get(path, tenant_id="tenant-1"), 404, "not_found")
            refused(caller.get(path, tenant_id="globex"), 404, "not_found")

    def test_for_all_read_as_operators_and_leave_no_operator_behind(self, platform: Module, acme: Module) -> None:
        theirs = str(admitted(tenant="globex"))
        assert platform.ids() == [theirs]
        assert acme.ids() == []
