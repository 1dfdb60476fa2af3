"""Tenants: whose work it is, where it may live, and whether it may run."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

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
