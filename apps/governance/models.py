"""The built-in catalogue of Governance: contracts, and policies that forbid."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now


class ContractState(models.TextChoices):
    """Whether work may run under a contract version."""

    DRAFT = "draft", "draft: nothing runs under it yet"
    ACTIVE = "active", "active"
    RETIRED = "retired", "retired: nothing new runs under it"


class Contract(models.Model):
    """One version of an agreement on what a job may do and make. Written as `name@version`; immutable once active."""

    name = models.CharField(max_length=100, validators=[RegexValidator(r"\A[a-z][a-z0-9_.-]*\Z")])
    version = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=ContractState, default=ContractState.DRAFT)
    job_types = ArrayField(models.CharField(max_length=64), help_text="job types that may run under it")
    tenants = ArrayField(
        models.CharField(max_length=48), null=True, blank=True, help_text="tenants it is for; empty = every tenant"
    )
    document = models.JSONField(default=dict, help_text="the contract's text as the job type reads it")
    obligations = models.JSONField(default=dict, blank=True, help_text="region, retention_days, redaction")
    digest = models.CharField(max_length=71, editable=False, help_text="sha256 of the canonical document")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "contracts"
        ordering = ["name", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["name", "version"], name="contract_version_once"),
            models.CheckConstraint(condition=models.Q(state__in=ContractState.values), name="contract_state_known"),
        ]

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class Policy(models.Model):
    """A standing prohibition: it matches by job type and tenant, and its reason is what the caller reads."""

    policy_id = models.SlugField(primary_key=True, max_length=64)
    job_types = ArrayField(models.CharField(max_length=64), help_text="patterns such as 'ops.*'")
    tenants = ArrayField(models.CharField(max_length=48), null=True, blank=True, help_text="empty = every tenant")
    except_tenants = ArrayField(models.CharField(max_length=48), default=list, blank=True)
    reason_code = models.SlugField(max_length=64)
    reason = models.CharField(max_length=500)
    active = models.BooleanField(default=True)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "policies"
        ordering = ["policy_id"]
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return self.policy_id
