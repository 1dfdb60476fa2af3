"""Tenants: whose work it is, where it may live, whether it may run, and who may look at it."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from apps.tenancy.context import TenantManager

TENANT_ID = RegexValidator(r"\A[a-z][a-z0-9-]{1,47}\Z", "2 to 48 of a-z, 0-9 and '-', beginning with a letter")


class TenantState(models.TextChoices):
    """Whether a tenant's work may run."""

    ACTIVE = "active", "active"
    SUSPENDED = "suspended", "suspended: nothing new is admitted, what runs is stopped at its next checkpoint"
    CLOSED = "closed", "closed: nothing is admitted; its records stay"


class Tenant(models.Model):
    """A customer of the platform. Global: every tenant-owned row names one, no tenant can read this table's others."""

    tenant_id = models.CharField(primary_key=True, max_length=48, validators=[TENANT_ID])
    name = models.CharField(max_length=200)
    region = models.CharField(max_length=32, default="local", help_text="where its data and records must stay")
    state = models.CharField(max_length=16, choices=TenantState, default=TenantState.ACTIVE)
    storage_url = models.CharField(
        max_length=500,
        help_text="fsspec URL of the tenant's own storage (data path); the plane keeps only URIs into it",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "tenants"
        ordering = ["tenant_id"]
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=TenantState.values), name="tenant_state_known"),
        ]

    def __str__(self) -> str:
        return self.tenant_id


class Role(models.TextChoices):
    """What a person is to a tenant."""

    VIEWER = "viewer", "viewer: reads what the tenant runs"
    ADMIN = "admin", "admin: reads, and speaks for the tenant"


class Membership(models.Model):
    """A person who signs in as a tenant's own, and reads its pages. Modules come with tokens and need none."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_index=False, related_name="+")
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(db_default=Now())

    objects = TenantManager["Membership"]()
    every = models.Manager["Membership"]()

    class Meta:
        db_table = "memberships"
        ordering = ["tenant_id", "user_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["user", "tenant"], name="membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant_id}"


class IdempotencyKey(models.Model):
    """A key under which a module sent a request, and the answer it got; written by `apps.tenancy.idempotency` alone."""

    key_id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT, db_index=False)
    subject = models.CharField(max_length=128, help_text="the calling module")
    route = models.CharField(max_length=200, help_text="method and route")
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64, help_text="of address and body: another request is told from the same one")
    status = models.PositiveSmallIntegerField(null=True, help_text="set by the transaction that took the key")
    headers = models.JSONField(default=dict)
    body = models.TextField(default="", help_text="the answer's exact text")
    expires_at = models.DateTimeField()

    objects = TenantManager["IdempotencyKey"]()
    every = models.Manager["IdempotencyKey"]()

    class Meta:
        db_table = "idempotency_keys"
        ordering = ["-key_id"]
        base_manager_name = "every"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "subject", "route", "key"], name="idempotency_key_once"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="idempotency_keys_expiry")]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"
