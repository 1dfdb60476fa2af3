"""Set-up writes a login for each tenant's own beside the operators', once, and gives nobody another's password."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

from apps.tenancy.context import operator_reading
from apps.tenancy.queries import seats_of
from tests.support.api import client


@pytest.fixture
def logins(db: None) -> dict[str, str]:
    """The first logins, as a person reads them."""
    call_command("set_up")
    return read()


def read() -> dict[str, str]:
    file = Path(settings.ENVIRONMENT.home) / "operator"
    assert file.stat().st_mode & 0o077 == 0, "nobody else may read it"
    return dict(line.split(" ") for line in file.read_text().splitlines())


@pytest.mark.parametrize("tenant", ["acme", "globex"])
def test_a_tenants_own_sees_that_tenants_page(logins: dict[str, str], tenant: str) -> None:
    browser = client()
    browser.post("/console/sign-in", {"username": tenant, "password": logins[tenant]})
    assert browser.get("/console/")["Location"] == f"/console/{tenant}/"
    assert browser.get(f"/console/{tenant}/").status_code == 200
    assert browser.get("/admin/").status_code == 302, "a tenant's own is no staff"


def test_the_operators_are_staff_and_belong_to_no_tenant(logins: dict[str, str]) -> None:
    assert sorted(logins) == ["acme", "approver", "globex", "operator"]
    with operator_reading():
        staff = get_user_model().objects.filter(is_staff=True)
        assert sorted(person.get_username() for person in staff) == ["approver", "operator"]
        assert [seats_of(person.pk) for person in staff] == [[], []]


def test_a_second_set_up_changes_nothing(logins: dict[str, str]) -> None:
    call_command("set_up")
    assert read() == logins


def test_who_is_missing_gets_a_password_and_the_others_keep_theirs(logins: dict[str, str]) -> None:
    """A plane of the version before has two people: their passwords are known to somebody."""
    with operator_reading():
        get_user_model().objects.filter(username__in=["acme", "globex"]).delete()
    call_command("set_up")
    after = read()
    assert {name for name in logins if logins[name] != after[name]} == {"acme", "globex"}
    with operator_reading():
        person = get_user_model().objects.get(username="acme")
        assert [seat.tenant_id for seat in seats_of(person.pk)] == ["acme"]


def test_a_membership_that_was_ended_is_not_made_again(logins: dict[str, str]) -> None:
    with operator_reading():
        person = get_user_model().objects.get(username="acme")
        person.delete()
        get_user_model().objects.create_user("acme", password="of an operator's choice")
    before = read()
    call_command("set_up")
    with operator_reading():
        assert seats_of(get_user_model().objects.get(username="acme").pk) == []
    assert read() == before
