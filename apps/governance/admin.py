"""Admin pages of Governance's catalogue: contracts, whose published text never changes, and policies."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from apps.core.admin.fields import JSONObjectField, RowForm, WordsField, among, patterns
from apps.core.admin.markup import as_json
from apps.core.admin.pages import ConfigurationAdmin, button, column
from apps.governance import lifecycle, odcs, operations
from apps.governance.models import Contract, Policy
from apps.tenancy.queries import tenant_ids

TEXT = ("job_types", "tenants", "document", "obligations")
STATE_COLOURS = {"draft": "info", "active": "success", "retired": "warning"}
EVERY_TENANT = "Separated by commas; empty = every tenant"
PATTERNS = "Separated by commas, such as “kpi.refresh” or “kpi.*”"
OBLIGATIONS = {"region": str, "retention_days": int, "redaction": list}


class ContractForm(RowForm[Contract]):
    """A contract version: a draft's text may change, a published one only goes from state to state."""

    job_types = WordsField(help_text=PATTERNS, validators=[patterns])
    tenants = WordsField(required=False, none_if_empty=True, help_text=EVERY_TENANT)
    document = JSONObjectField(help_text="The text as the job type reads it: a JSON object")
    obligations = JSONObjectField(required=False, rows=4, help_text="region, retention_days, redaction")

    class Meta:
        model = Contract
        fields = ("name", "version", "state", *TEXT)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        state = self.instance.state if self.instance.pk else lifecycle.DRAFT
        if "state" in self.fields:
            reachable = lifecycle.choices(state)
            labels = dict(Contract._meta.get_field("state").choices or ())
            self.fields["state"].choices = [(each, labels[each]) for each in reachable]  # type: ignore[attr-defined]

    def clean_tenants(self) -> list[str] | None:
        """Refuse a tenant that does not exist: a contract for a misspelled one is a contract for nobody."""
        tenants: list[str] | None = self.cleaned_data["tenants"]
        among(tenants, known=tenant_ids(), what="tenant")
        return tenants

    def clean_document(self) -> dict[str, Any]:
        """Refuse a document that says it is an Open Data Contract and is none, field by field."""
        document: dict[str, Any] = self.cleaned_data["document"]
        wrong = odcs.problems(document)
        if wrong:
            raise ValidationError([f"{each.field}: {each.message}" for each in wrong])
        return document

    def clean_obligations(self) -> dict[str, Any]:
        """Refuse what nothing here obeys: an obligation that is not kept is worse than none."""
        obligations: dict[str, Any] = self.cleaned_data["obligations"]
        among(obligations, known=OBLIGATIONS, what="obligation")
        for name, value in obligations.items():
            if not isinstance(value, OBLIGATIONS[name]) or isinstance(value, bool):
                kind = {str: "a text", int: "a whole number", list: "a list of texts"}[OBLIGATIONS[name]]
                raise ValidationError(f"{name}: {kind} would be right")
        return obligations


@admin.register(Contract)
class ContractAdmin(ConfigurationAdmin[Contract]):
    """Contract versions. Another text is another version: “Next version” begins a draft with this one's text."""

    form = ContractForm
    refusals = (
        operations.ContractChangedError,
        operations.ContractExistsError,
        operations.NoContractError,
        lifecycle.IllegalContractMoveError,
    )
    list_display = ("reference", "standing", "shown_types", "shown_tenants", "digest", "created_at")
    list_filter = ("state",)
    search_fields = ("name",)
    fixed = ("name", "version")
    told = ("digest", "created_at")
    actions_detail = ("next_version",)
    fieldsets: ClassVar[Any] = (
        (None, {"fields": (("name", "version"), "state", "digest", "created_at")}),
        ("Text", {"fields": TEXT, "description": "What is agreed. It is final once the version is active."}),
    )

    @column("Contract", ordering="name")
    def reference(self, row: Contract) -> str:
        """Return `name@version`, as jobs name it."""
        return str(row)

    @column("State", label=STATE_COLOURS, ordering="state")
    def standing(self, row: Contract) -> str:
        """Return the state."""
        return row.state

    @column("Job types")
    def shown_types(self, row: Contract) -> str:
        """Return the job types."""
        return ", ".join(row.job_types)

    @column("Tenants")
    def shown_tenants(self, row: Contract) -> str:
        """Return the tenants."""
        return "every tenant" if row.tenants is None else ", ".join(row.tenants)

    @column("Document")
    def shown_document(self, row: Contract) -> Any:
        """Return the final text."""
        return as_json(row.document)

    @column("Obligations")
    def shown_obligations(self, row: Contract) -> Any:
        """Return the obligations."""
        return as_json(row.obligations)

    @button("Next version")
    def next_version(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Go to a new draft that begins with this version's text."""
        return HttpResponseRedirect(f"{reverse('admin:governance_contract_add')}?from={int(object_id)}")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return what a new draft begins with: `?from=` names the version that it follows."""
        origin = request.GET.get("from", "")
        contract = Contract.objects.filter(pk=int(origin)).first() if re.fullmatch("[0-9]{1,18}", origin) else None
        if contract is None:
            return {}
        newest = Contract.objects.filter(name=contract.name).aggregate(newest=Max("version"))["newest"]
        text = {name: getattr(contract, name) for name in TEXT}
        return {"name": contract.name, "version": newest + 1, **text}

    def get_fieldsets(self, request: HttpRequest, obj: Contract | None = None) -> Any:
        """Return the page's parts; a published version shows its text instead of offering it."""
        if obj is None or obj.state == lifecycle.DRAFT:
            return super().get_fieldsets(request, obj)
        shown = ("shown_types", "shown_tenants", "shown_document", "shown_obligations")
        final = "Published: this text is final. Give another text another version."
        return (self.fieldsets[0], ("Text", {"fields": shown, "description": final}))

    def get_readonly_fields(self, request: HttpRequest, obj: Contract | None = None) -> tuple[str, ...]:
        """Return what cannot be edited: of a published version, everything but its state."""
        fields = super().get_readonly_fields(request, obj)
        if obj is None or obj.state == lifecycle.DRAFT:
            return fields
        return (*fields, "shown_types", "shown_tenants", "shown_document", "shown_obligations")

    def has_delete_permission(self, request: HttpRequest, obj: Contract | None = None) -> bool:
        """Say yes for drafts: under a published version jobs may have run."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.state == lifecycle.DRAFT)

    def save_model(self, request: HttpRequest, obj: Contract, form: Any, change: bool) -> None:
        """Draft, redraft, and move: each by its operation."""
        given = form.cleaned_data
        target, was = given["state"], form.initial.get("state", lifecycle.DRAFT) if change else lifecycle.DRAFT
        if was == lifecycle.DRAFT:
            text = {name: given[name] for name in TEXT}
            if change:
                operations.redraft_contract(name=obj.name, version=obj.version, **text)
            else:
                obj.pk = operations.draft_contract(name=obj.name, version=obj.version, **text).pk
        if target != was:
            move = operations.activate_contract if target == lifecycle.ACTIVE else operations.retire_contract
            move(name=obj.name, version=obj.version)

    def delete_model(self, request: HttpRequest, obj: Contract) -> None:
        """Discard the draft."""
        operations.discard_draft(name=obj.name, version=obj.version)


class PolicyForm(RowForm[Policy]):
    """A standing prohibition."""

    job_types = WordsField(help_text=PATTERNS, validators=[patterns])
    tenants = WordsField(required=False, none_if_empty=True, help_text=EVERY_TENANT)
    except_tenants = WordsField(required=False, help_text="Whom it does not touch")

    class Meta:
        model = Policy
        fields = ("policy_id", "active", "job_types", "tenants", "except_tenants", "reason_code", "reason")

    def clean(self) -> dict[str, Any]:
        """Refuse tenants that do not exist, and a policy that forbids nobody."""
        given = super().clean() or {}
        for name in ("tenants", "except_tenants"):
            try:
                among(given.get(name), known=tenant_ids(), what="tenant")
            except ValidationError as error:
                self.add_error(name, error)
        tenants, spared = given.get("tenants"), set(given.get("except_tenants") or ())
        if tenants and spared >= set(tenants):
            self.add_error("except_tenants", "Every tenant it is for is spared: nobody would be forbidden anything")
        return given


@admin.register(Policy)
class PolicyAdmin(ConfigurationAdmin[Policy]):
    """Standing prohibitions; the reason is what the caller of a refused job reads."""

    form = PolicyForm
    list_display = ("policy_id", "in_force", "shown_types", "shown_tenants", "reason_code", "reason", "changed_at")
    list_filter = ("active",)
    search_fields = ("policy_id", "reason_code")
    fields = ("policy_id", "active", "job_types", "tenants", "except_tenants", "reason_code", "reason", "changed_at")
    fixed = ("policy_id",)
    told = ("changed_at",)

    @column("In force", label={"in force": "success", "off": "warning"}, ordering="active")
    def in_force(self, row: Policy) -> str:
        """Return whether it forbids."""
        return "in force" if row.active else "off"

    @column("Job types")
    def shown_types(self, row: Policy) -> str:
        """Return the patterns."""
        return ", ".join(row.job_types)

    @column("Tenants")
    def shown_tenants(self, row: Policy) -> str:
        """Return whom it touches."""
        spared = f", except {', '.join(row.except_tenants)}" if row.except_tenants else ""
        return ("every tenant" if row.tenants is None else ", ".join(row.tenants)) + spared

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        """Lay the policy down."""
        names = ("active", "job_types", "tenants", "except_tenants", "reason_code", "reason")
        operations.put_policy(policy_id=obj.policy_id, **{name: form.cleaned_data[name] for name in names})

    def delete_model(self, request: HttpRequest, obj: Policy) -> None:
        """Lift the policy."""
        operations.lift_policy(policy_id=obj.policy_id)
