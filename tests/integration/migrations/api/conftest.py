"""Who asks about migrations over HTTP: modules with tokens, and people who signed in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from apps.tenancy.context import operator_reading
from tests.integration.conftest import Control
from tests.support import campaigns, migrations
from tests.support.api import Module, client, said
from tests.support.campaigns import MIGRATIONS, SCOPES

Person = Callable[..., Client]
Laid = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def definitions(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be run."""
    monkeypatch.setattr(settings, "ENVIRONMENT", replace(settings.ENVIRONMENT, migrations=(migrations.ROOT,)))


@pytest.fixture
def acme(db: None) -> Module:
    """Acme's module."""
    return Module("acme", scope=SCOPES)


@pytest.fixture
def platform(db: None) -> Module:
    """A module of the platform."""
    return Module("*", scope=SCOPES)


@pytest.fixture
def person(db: None) -> Person:
    """Return a maker of people who signed in: superusers, or as they are said to be."""

    def sign_in(
        name: str = "paula", *, permissions: tuple[str, ...] = (), superuser: bool = True, **more: Any
    ) -> Client:
        browser = client()
        with operator_reading():
            users = get_user_model().objects
            if superuser:
                user = users.create_superuser(name, **more)
            else:
                user = users.create_user(name, **{"is_staff": True, **more})
                user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
            browser.force_login(user)
        return browser

    return sign_in


@pytest.fixture
def awaiting(platform: Module, control: Control) -> Laid:
    """Return a maker of migrations that await approval, on acme's account."""

    def make(*waves: list[str], approvals: int = 1, set_aside: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
        going = waves or (["acme"],)
        tenants = [each for wave in going for each in wave] + list(set_aside)
        row = campaigns.asked(platform, *tenants, tenant_id="acme", **more)
        campaigns.planned(control, row["id"], *going, approvals=approvals, set_aside=set_aside)
        return said(platform.get(f"{MIGRATIONS}/{row['id']}"))

    return make


@pytest.fixture
def running(platform: Module, control: Control) -> Laid:
    """Return a maker of migrations that have begun, on acme's account."""

    def make(*waves: list[str], set_aside: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
        going = waves or (["acme"],)
        tenants = [each for wave in going for each in wave] + list(set_aside)
        row = campaigns.asked(platform, *tenants, tenant_id="acme", **more)
        campaigns.begun(control, row["id"], *going, set_aside=set_aside)
        return said(platform.get(f"{MIGRATIONS}/{row['id']}"))

    return make


def approve(browser: Client, migration_id: str, **body: Any) -> Any:
    """Return the answer to a person's approval."""
    path = f"{MIGRATIONS}/{migration_id}/approve"
    return browser.post(path, json.dumps(body), content_type="application/json")
