"""Admin pages of tenants: whose work it is, where it may live, whether it may run, and who may look at it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin.fields import RowForm
from apps.core.admin.pages import ConfigurationAdmin, column
from apps.tenancy import operations
from apps.tenancy.models import Membership, Tenant


class TenantForm(RowForm[Tenant]):
    """A tenant."""

    class Meta:
        model = Tenant
        fields = ("tenant_id", "name", "region", "state", "storage_url")

    def clean_region(self) -> str:
        """Refuse a region that could not be compared with a contract's word for word."""
        region: str = self.cleaned_data["region"]
        if not re.fullmatch(r"[a-z][a-z0-9-]*", region):
            raise ValidationError("A region is a word of a-z, 0-9 and “-”: “local” or “eu-central-1” would be right")
        return region

    def clean_storage_url(self) -> str:
        """Refuse what is no place, and a place that another tenant can reach."""
        url: str = self.cleaned_data["storage_url"].rstrip("/")
        parts = urlsplit(url)
        if not parts.scheme or not (parts.netloc or parts.path.startswith("/")) or parts.query or parts.fragment:
            raise ValidationError("An fsspec URL would be right: “s3://bucket/acme” or “file:///srv/storage/acme”")
        if parts.password:
            raise ValidationError("No secrets here: the storage's credentials belong to the workers' surroundings")
        tenant_id = self.instance.tenant_id or self.cleaned_data.get("tenant_id", "")
        other = operations.storage_neighbour(tenant_id=tenant_id, storage_url=url)
        if other is not None:
            raise ValidationError(
                f"It lies within the storage of tenant “{other}”, or around it: give it its own folder"
            )
        return url


@admin.register(Tenant)
class TenantAdmin(ConfigurationAdmin[Tenant]):
    """Tenants. They are closed, not deleted: what they did stays provable."""

    form = TenantForm
    refusals = (operations.StorageSharedError,)
    list_display = ("tenant_id", "name", "standing", "region", "storage_url", "created_at")
    list_filter = ("state", "region")
    search_fields = ("tenant_id", "name")
    ordering = ("tenant_id",)
    fields = ("tenant_id", "name", "region", "state", "storage_url", "created_at")
    fixed = ("tenant_id", "region")
    told = ("created_at",)

    @column("State", label={"active": "success", "suspended": "warning", "closed": "danger"}, ordering="state")
    def standing(self, row: Tenant) -> str:
        """Return the state."""
        return row.state

    def has_delete_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        """Say no: every job, event and proof names its tenant."""
        return False

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        """Make or change the tenant."""
        operations.put_tenant(
            tenant_id=obj.tenant_id,
            name=obj.name,
            region=obj.region,
            state=obj.state,
            storage_url=form.cleaned_data["storage_url"],
        )


@admin.register(Membership)
class MembershipAdmin(ConfigurationAdmin[Membership]):
    """Who reads which tenant's pages. People are made under “People”; they need be neither staff nor superuser."""

    list_display = ("user", "of_tenant", "role", "created_at")
    list_select_related = ("user",)
    list_filter = (("tenant", AutocompleteSelectFilter), "role")
    search_fields = ("user__username",)
    ordering = ("tenant_id", "user__username")
    autocomplete_fields = ("user", "tenant")
    fields = ("user", "tenant", "role", "created_at")
    fixed = ("user", "tenant")
    told = ("created_at",)

    @column("Tenant", ordering="tenant_id")
    def of_tenant(self, row: Membership) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    def save_model(self, request: HttpRequest, obj: Membership, form: Any, change: bool) -> None:
        """Make or change the membership."""
        made = operations.put_membership(user_id=obj.user_id, tenant_id=obj.tenant_id, role=obj.role)
        obj.pk = made.pk

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        """Take the person out of the tenant."""
        operations.end_membership(membership_id=obj.pk)
