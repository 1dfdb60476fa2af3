"""The superuser is found, whatever role the session has entered meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.db import connection
from pytest_django import DjangoDbBlocker

from opsplatform import embedded, production
from opsplatform.settings.environment import database_parameters


def test_the_planes_own_login_is_no_superuser(db: None) -> None:
    assert production.superuser_complaint() is None


def test_a_superuser_is_named_and_the_system_check_is_critical_in_production_only(
    db: None, services: embedded.Services, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> None:
    assert services.superuser_url is not None
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(database_parameters(url=services.superuser_url, role="login"))
    try:
        complaint = production.superuser_complaint()
        assert complaint is not None
        assert complaint.startswith("DATABASE_URL signs in as 'postgres'")
        assert [found.id for found in run_checks(databases=["default"]) if found.id == "ops.E010"] == []
        monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, local=False))
        assert [found.id for found in run_checks(databases=["default"]) if found.id == "ops.E010"] == ["ops.E010"]
    finally:
        connection.close()
        connection.settings_dict.update(before)
