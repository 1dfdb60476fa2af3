"""Who sees which tenant's pages: its own people and operators; to everybody else it does not exist. None writes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import URLPattern, reverse

from apps.console.urls import urlpatterns
from apps.core.ids import uuid7
from apps.tenancy import operations
from apps.tenancy.context import NoTenantContextError, in_tenant, only_reading, operator_reading
from apps.tenancy.models import Membership
from tests.integration.console.conftest import Past, SignedIn, at, page
from tests.support.api import client
from tests.support.walls import refused, tenants_in

ROUTES: dict[str, URLPattern] = {str(each.name): each for each in urlpatterns}
TENANTS = sorted(name for name, route in ROUTES.items() if "tenant_id" in route.pattern.converters)
JOBS = [name for name in TENANTS if "job_id" in ROUTES[name].pattern.converters]
ROWS = [name for name in TENANTS if set(ROUTES[name].pattern.converters) - {"tenant_id"}]
PART = {"HX-Request": "true"}


def address(name: str, tenant: str, past: Past, *, theirs: bool = False, nowhere: bool = False) -> str:
    """Return the address of a page: of acme's things, of globex's (`theirs`), or of what is not there."""
    ids = {
        "job_id": past.theirs if theirs else past.succeeded,
        "alert_id": past.their_alert if theirs else past.alert,
        "ticket_id": past.their_ticket if theirs else past.ticket,
    }
    wanted = set(ROUTES[name].pattern.converters) - {"tenant_id"}
    keys = {key: uuid7() if nowhere else ids[key] for key in wanted}
    return reverse(f"console:{name}", kwargs={"tenant_id": tenant, **keys})


def body(text: str) -> str:
    """Return a page without what differs from request to request: its time, and the token of its one form."""
    return re.sub(r'data-now="[^"]+"|name="csrfmiddlewaretoken" value="[^"]+"', "", text)


def test_there_are_pages_of_both_kinds() -> None:
    assert {"overview", "history"} < set(TENANTS) - set(JOBS)
    assert {"job", "story", "log", "receipt"} <= set(JOBS)
    assert {"alert", "ticket"} <= set(ROWS) - set(JOBS)


class TestWhoDidNotSignIn:
    """They are led to the form and back."""

    @pytest.mark.parametrize("name", TENANTS)
    def test_is_asked_to(self, db: None, past: Past, name: str) -> None:
        wanted = address(name, "acme", past)
        answer = client().get(wanted)
        assert (answer.status_code, answer["Location"]) == (302, f"/console/sign-in?next={wanted.replace('/', '%2F')}")

    @pytest.mark.parametrize("name", TENANTS)
    def test_a_part_has_its_page_go_to_the_form(self, db: None, past: Past, name: str) -> None:
        answer = client().get(address(name, "acme", past), headers=PART)
        assert (answer.status_code, answer["HX-Refresh"], answer.content) == (401, "true", b"")

    def test_learns_nothing_of_which_tenants_there_are(self, db: None) -> None:
        there, nowhere = (client().get(at(tenant)) for tenant in ("acme", "no-such-tenant"))
        assert there["Location"].replace("acme", "no-such-tenant") == nowhere["Location"]

    def test_signs_in_and_is_led_to_where_they_were_going(self, signed_in: SignedIn, past: Past) -> None:
        signed_in("someone", "acme", password="correct horse battery")
        browser = client(headers={"Accept": "text/html"})
        form = browser.get(f"/console/sign-in?next={at('acme', 'x')}")
        assert f'name="next" value="{at("acme", "x")}"' in form.content.decode()
        said = {"username": "someone", "password": "correct horse battery"}
        answer = browser.post("/console/sign-in", {**said, "next": at("acme")})
        assert (answer.status_code, answer["Location"]) == (302, at("acme"))
        assert browser.get("/console/")["Location"] == at("acme")
        assert str(past.succeeded) in page(browser, at("acme"))

    def test_is_led_to_no_other_host(self, signed_in: SignedIn) -> None:
        signed_in("someone", "acme", password="correct horse battery")
        said = {"username": "someone", "password": "correct horse battery", "next": "https://evil.example.org/"}
        assert client().post("/console/sign-in", said)["Location"] == "/console/"

    @pytest.mark.parametrize("way", ["/console/sign-in", "/console/sign-in?next=/console/sign-in", "//evil/"])
    def test_is_led_round_in_no_circle(self, acme: Client, way: str) -> None:
        answer = acme.get("/console/sign-in", {"next": way})
        assert (answer.status_code, answer["Location"]) == (302, "/console/")

    def test_is_told_when_name_and_password_do_not_belong_together(self, db: None) -> None:
        answer = client().post("/console/sign-in", {"username": "nobody", "password": "nothing"})
        assert answer.status_code == 200
        assert "do not belong together" in answer.content.decode()

    def test_whoever_signed_out_is_asked_again(self, acme: Client) -> None:
        assert acme.get("/console/sign-out").status_code == 405, "a link must not sign anybody out"
        assert acme.post("/console/sign-out")["Location"] == "/console/sign-in"
        assert acme.get(at("acme")).status_code == 302


class TestAnotherTenant:
    """It does not exist, nor does anything of it."""

    @pytest.mark.parametrize("name", TENANTS)
    def test_has_no_pages_and_reads_as_one_that_is_not_there(self, acme: Client, past: Past, name: str) -> None:
        theirs, nowhere = (
            page(acme, address(name, tenant, past, theirs=True), code=404) for tenant in ("globex", "no-such-tenant")
        )
        assert body(theirs) == body(nowhere)
        assert "lobex" not in theirs

    @pytest.mark.parametrize("name", ROWS)
    def test_has_nothing_on_ones_own_pages_either(self, acme: Client, past: Past, name: str) -> None:
        theirs = page(acme, address(name, "acme", past, theirs=True), code=404)
        nowhere = page(acme, address(name, "acme", past, nowhere=True), code=404)
        assert body(theirs) == body(nowhere)

    def test_has_no_rows_in_the_history_whatever_is_asked(self, acme: Client, past: Past) -> None:
        for query in (
            {"type": ""},
            {"status": "succeeded"},
            {"type": "ops.noop"},
            {"within": "1h"},
            {"before": str(uuid7())},
        ):
            assert str(past.theirs) not in page(acme, at("acme"), query)

    def test_keeps_its_name_from_who_may_not_look(self, acme: Client, past: Past) -> None:
        text = page(acme, at("acme"))
        assert "lobex" not in text
        assert "secret" not in text
        assert str(past.alert) in text
        assert str(past.their_alert) not in text
        assert str(past.ticket) in text
        assert str(past.their_ticket) not in text


class TestMembers:
    """Who belongs to a tenant sees it; belonging may begin and end."""

    def test_of_two_tenants_choose_and_see_each(self, signed_in: SignedIn, past: Past) -> None:
        both = signed_in("bea", "acme", "globex")
        choice = page(both, "/console/")
        assert at("acme") in choice
        assert at("globex") in choice
        assert str(past.theirs) in page(both, at("globex"))
        assert str(past.theirs) not in page(both, at("acme"))

    def test_of_none_are_told_what_to_do(self, signed_in: SignedIn) -> None:
        nobody = signed_in("nora")
        told = page(nobody, "/console/", code=403)
        assert "You belong to no tenant yet" in told
        assert "nora" in told
        page(nobody, at("acme"), code=404)

    def test_of_a_tenant_that_is_called_as_the_form_is_see_it(self, signed_in: SignedIn) -> None:
        with operator_reading():
            operations.put_tenant(
                tenant_id="sign-in-gmbh", name="Sign-in GmbH", region="local", state="active", storage_url="file:///s/"
            )
        assert "Sign-in GmbH" in page(signed_in("gerda", "sign-in-gmbh"), at("sign-in-gmbh"))

    def test_whose_membership_ends_see_nothing_with_the_next_request(self, acme: Client) -> None:
        page(acme, at("acme"))
        with operator_reading():
            (membership,) = Membership.objects.all()
            assert operations.end_membership(membership_id=membership.pk)
        page(acme, at("acme"), code=404)

    def test_who_were_deactivated_are_signed_out(self, acme: Client) -> None:
        with operator_reading():
            get_user_model().objects.update(is_active=False)
        assert acme.get(at("acme")).status_code == 302

    def test_staff_without_the_right_to_see_jobs_are_no_operators(self, signed_in: SignedIn) -> None:
        page(signed_in("stan", is_staff=True), at("acme"), code=404)

    def test_are_one_tenants_alone_to_raw_sql(self, acme: Client, signed_in: SignedIn) -> None:
        signed_in("gus", "globex")
        assert tenants_in("memberships") == []
        with pytest.raises(NoTenantContextError):
            Membership.objects.count()
        with in_tenant("acme"):
            assert tenants_in("memberships") == ["acme"]
            with refused(), connection.cursor() as cursor:
                cursor.execute("UPDATE memberships SET tenant_id = 'globex'")


class TestOperators:
    """They look at any tenant, one at a time."""

    def test_choose_among_all(self, operator: Client) -> None:
        choice = page(operator, "/console/")
        assert all(at(tenant) in choice for tenant in ("acme", "globex", "sandbox"))

    @pytest.mark.parametrize("name", TENANTS)
    def test_see_every_page(self, operator: Client, past: Past, name: str) -> None:
        answer = operator.get(address(name, "globex", past, theirs=True), headers=PART)
        assert answer.status_code == 200
        text = answer.content.decode()
        assert [each for each in (past.succeeded, past.alert, past.ticket) if str(each) in text] == []

    def test_see_one_tenants_rows_at_a_time(self, operator: Client, past: Past) -> None:
        globex, acme = (page(operator, at(tenant)) for tenant in ("globex", "acme"))
        assert "operator’s look" in globex
        assert (str(past.theirs) in globex, str(past.succeeded) in globex) == (True, False)
        assert (str(past.theirs) in acme, str(past.succeeded) in acme) == (False, True)
        assert "All 2 jobs:" in globex

    @pytest.mark.parametrize("name", ROWS)
    def test_find_a_thing_under_its_own_tenant_alone(self, operator: Client, past: Past, name: str) -> None:
        page(operator, address(name, "acme", past, theirs=True), code=404)

    def test_find_no_tenant_that_is_not_there(self, operator: Client) -> None:
        page(operator, at("no-such-tenant"), code=404)


class TestReadOnly:
    """No page writes: none takes anything but a look, and PostgreSQL would refuse."""

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    @pytest.mark.parametrize("name", [*TENANTS, "home"])
    def test_nothing_but_looking_is_served(self, acme: Client, past: Past, name: str, method: str) -> None:
        wanted = reverse("console:home") if name == "home" else address(name, "acme", past)
        answer = acme.generic(method, wanted, b"status=cancelled", "application/x-www-form-urlencoded")
        assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")

    @pytest.mark.parametrize("as_operator", [False, True])
    def test_the_database_refuses_what_a_careless_page_would_write(self, past: Past, as_operator: bool) -> None:
        statement = "UPDATE jobs SET priority = 0 WHERE tenant_id = 'acme'"
        with (
            pytest.raises(DatabaseError, match="read-only transaction"),
            only_reading("acme", as_operator=as_operator),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)

    def test_looking_leaves_no_trace(self, acme: Client, past: Past, look: Any) -> None:
        for wanted in [*(address(name, "acme", past) for name in TENANTS), at("acme", f"jobs/{past.waiting}")]:
            assert acme.get(wanted, headers=PART).status_code < 300
        assert look("SELECT 1 FROM start_predictions") == []

    @pytest.mark.parametrize("name", [*TENANTS, "home", "sign-in"])
    def test_every_page_runs_nothing_but_our_own_files_and_is_kept_nowhere(
        self, acme: Client, past: Past, name: str
    ) -> None:
        wanted = reverse(f"console:{name}") if name not in TENANTS else address(name, "acme", past)
        answer = acme.get(wanted)
        policy = answer["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "no-store" in answer["Cache-Control"]
        if answer["Content-Type"].startswith("text/html"):
            text = answer.content.decode()
            assert "style=" not in text
            assert "<script>" not in text
            assert "onclick" not in text


@pytest.mark.parametrize(
    "rest",
    [
        "jobs/{0}/log?after=%00",
        "jobs/{0}/log?after=9.99999999999999999999999",
        "jobs/{0}?log=%00",
        "history?day=2026-W01-1&within=%00",
        "?before=%00&status=%00&type=%ED%A0%80&day=0001-01-01",
        "?day=9999-12-31&before=ffffffff-ffff-ffff-ffff-ffffffffffff",
        "alerts/00000000-0000-0000-0000-000000000000",
    ],
)
def test_an_address_that_makes_no_sense_is_no_failure_of_ours(acme: Client, past: Past, rest: str) -> None:
    assert acme.get(at("acme", rest.format(past.succeeded)), headers=PART).status_code < 500
