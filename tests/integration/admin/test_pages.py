"""Every page of the admin: it opens for an operator, asks others to sign in, and no record is written through it.

Looking changes nothing: the past that is looked at is made once for all these tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from apps.core.admin.pages import RecordAdmin
from apps.core.ids import uuid7
from apps.jobs.models import Job
from apps.tenancy.context import operator_reading
from tests.support.admin import Past, a_past, signed_in
from tests.support.broom import Broom
from tests.support.database import swept

PAGES = sorted(admin.site._registry, key=lambda model: model._meta.label)
RECORDS = [model for model in PAGES if isinstance(admin.site._registry[model], RecordAdmin)]


@pytest.fixture(scope="module")
def db(django_db_blocker: DjangoDbBlocker, broom: Broom) -> Iterator[None]:
    """The database, swept when all are through."""
    with swept(django_db_blocker, broom):
        yield


@pytest.fixture(scope="module")
def operator(db: None) -> Client:
    """A browser in which an operator has signed in."""
    return signed_in()


@pytest.fixture(scope="module")
def past(db: None, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """What there is to see."""
    return a_past(heads=tmp_path_factory.mktemp("heads"))


def label(model: type[models.Model]) -> str:
    return model._meta.label_lower


def address(model: type[models.Model], page: str, *keys: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=keys)


def keys_of(model: type[models.Model]) -> list[Any]:
    with operator_reading():
        return list(model._default_manager.values_list("pk", flat=True)[:5])


class TestSigningIn:
    """The admin is for people who signed in."""

    def test_the_form_opens_the_door_and_leads_to_the_overview(self, db: None) -> None:
        with operator_reading():
            get_user_model().objects.create_superuser("someone", password="correct horse battery")
        browser = Client()
        answer = browser.post("/admin/login/", {"username": "someone", "password": "correct horse battery"})
        assert (answer.status_code, answer["Location"]) == (302, "/admin/")
        assert browser.get("/admin/").status_code == 200

    @pytest.mark.parametrize("model", PAGES, ids=label)
    def test_whoever_did_not_is_asked_to(self, client: Client, db: None, model: type[models.Model]) -> None:
        answer = client.get(address(model, "changelist"))
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


class TestReading:
    """Rows of every tenant, each on a page of its own."""

    @pytest.mark.parametrize("model", PAGES, ids=label)
    def test_lists_and_rows_open(self, operator: Client, past: Past, model: type[models.Model]) -> None:
        assert operator.get(address(model, "changelist")).status_code == 200
        for key in keys_of(model):
            assert operator.get(address(model, "change", key)).status_code == 200

    @pytest.mark.parametrize("model", [model for model in PAGES if model not in RECORDS], ids=label)
    def test_forms_for_new_rows_open_where_rows_may_be_made(
        self, operator: Client, past: Past, model: type[models.Model]
    ) -> None:
        expected = 403 if label(model) == "jobs.environment" else 200
        answer = operator.get(address(model, "add"))
        assert answer.status_code == expected
        assert "DatabaseDefault" not in answer.content.decode()

    @pytest.mark.parametrize("model", RECORDS, ids=label)
    def test_a_list_asks_as_much_for_many_rows_as_for_few_and_counts_nothing(
        self, operator: Client, past: Past, model: type[models.Model]
    ) -> None:
        with CaptureQueriesContext(connection) as asked:
            assert operator.get(address(model, "changelist")).status_code == 200
        statements = [query["sql"] for query in asked]
        assert not [statement for statement in statements if "count(" in statement.lower()]
        assert len(statements) < 12, statements

    @pytest.mark.parametrize("key", ["nonsense", str(uuid7())], ids=["nonsense", "of no row"])
    @pytest.mark.parametrize("model", PAGES, ids=label)
    def test_what_is_not_there_is_not_found(self, operator: Client, model: type[models.Model], key: str) -> None:
        assert operator.get(address(model, "change", key)).status_code == 404

    def test_a_list_shows_one_tenants_rows_when_asked(self, operator: Client, past: Past) -> None:
        page = operator.get(address(Job, "changelist"), {"tenant__tenant_id__exact": "globex"}).content.decode()
        assert str(past.failed) in page
        assert str(past.succeeded) not in page

    def test_the_filter_finds_tenants_as_one_types(self, operator: Client) -> None:
        asked = {"app_label": "jobs", "model_name": "job", "field_name": "tenant", "term": "glo"}
        found = operator.get("/admin/autocomplete/", asked).json()["results"]
        assert found == [{"id": "globex", "text": "globex"}]

    def test_a_job_is_found_by_its_id_and_by_nothing_less(self, operator: Client, past: Past) -> None:
        whole = operator.get(address(Job, "changelist"), {"q": str(past.failed)}).content.decode()
        assert str(past.succeeded) not in whole
        part = operator.get(address(Job, "changelist"), {"q": str(past.failed)[:8]}).content.decode()
        assert str(past.failed) not in part
        assert "an id is a UUID" in part

    @pytest.mark.parametrize(
        "asked",
        [{"since": "1h"}, {"status__exact": "failed"}, {"type": "ops.fail"}, {"environment__name__exact": "default"}],
    )
    def test_filters_keep_what_they_should(self, operator: Client, past: Past, asked: dict[str, str]) -> None:
        assert str(past.failed) in operator.get(address(Job, "changelist"), asked).content.decode()

    def test_a_page_too_far_is_refused_before_it_is_counted_to(self, operator: Client, past: Past) -> None:
        answer = operator.get(address(Job, "changelist"), {"p": "201"})
        assert (answer.status_code, answer["Location"]) == (302, f"{address(Job, 'changelist')}?e=1")


class TestRecordsCannotBeWritten:
    """The first wall: no page writes what the plane wrote."""

    @pytest.mark.parametrize("model", RECORDS, ids=label)
    def test_a_hand_made_post_is_refused(self, operator: Client, past: Past, model: type[models.Model]) -> None:
        assert operator.post(address(model, "add"), {}).status_code == 403
        for key in keys_of(model)[:1]:
            assert operator.post(address(model, "change", key), {"status": "succeeded"}).status_code == 403
            assert operator.post(address(model, "delete", key), {"post": "yes"}).status_code == 403

    def test_a_hand_made_bulk_deletion_deletes_nothing(self, operator: Client, past: Past, look: Any) -> None:
        operator.post(
            address(Job, "changelist"),
            {"action": "delete_selected", "_selected_action": [str(past.failed)], "post": "yes"},
        )
        assert len(look("SELECT 1 FROM jobs WHERE job_id = %s", past.failed)) == 1
