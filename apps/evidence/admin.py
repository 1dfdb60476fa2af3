"""Admin pages of the evidence logs: records and whether they match their leaf, checkpoints, nodes. Only to be read."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin.lists import SinceFilter
from apps.core.admin.markup import as_json, badge, code, mono
from apps.core.admin.pages import RecordAdmin, column
from apps.evidence import keys, merkle, notes
from apps.evidence.logs import Log
from apps.evidence.models import Emission, LegalHold, Nodes, Outlet, Record, SealedCheckpoint, Series, SeriesMember
from apps.evidence.queries import examine

SHOWN_HASHES = 64


@admin.register(Record)
class RecordPages(RecordAdmin[Record]):
    """Evidence records, newest first. A job's records are found by its id."""

    list_display = ("shown_id", "created_at", "shown_predicate", "of_tenant", "shown_subject", "number", "shown_state")
    list_filter = (("tenant", AutocompleteSelectFilter), SinceFilter)
    search_fields = ("subject_id",)
    search_help_text = "A whole job id"
    ordering = ("-record_id",)
    heavy = ("payload", "salt", "leaf")
    fieldsets = (
        (
            None,
            {"fields": ("shown_id", "shown_predicate", "of_tenant", "region", "shown_subject", "fence", "created_at")},
        ),
        ("Proof", {"fields": ("verdict", "shown_leaf", "shown_salt", "number", "shown_state")}),
        ("Statement", {"fields": ("laid_out", "shown_payload")}),
    )

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Return the records of a job; its kind leads the index that finds them."""
        found, distinct = super().get_search_results(request, queryset, search_term)
        return (found.filter(kind="job") if search_term.strip() else found), distinct

    @column("Record")
    def shown_id(self, row: Record) -> Any:
        """Return its id."""
        return mono(row.record_id)

    @column("States")
    def shown_predicate(self, row: Record) -> Any:
        """Return what it states."""
        return badge(
            row.predicate, {"outcome": "primary", "refusal": "warning", "series": "warning"}.get(row.predicate, "info")
        )

    @column("Tenant")
    def of_tenant(self, row: Record) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Subject")
    def shown_subject(self, row: Record) -> Any:
        """Return what it is about."""
        return mono(row.subject_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Record]:
        """Return the records, each with the sink's name for the batch that brought it."""
        own = Emission.every.filter(tenant_id=OuterRef("tenant_id"), region=OuterRef("region"))
        last = own.filter(start__lte=OuterRef("number"), size__gt=OuterRef("number")).values("ref")[:1]
        return super().get_queryset(request).annotate(emitted_as=Subquery(last))

    @column("Sink")
    def shown_state(self, row: Record) -> Any:
        """Return whether the sink has it, and under which name."""
        ref = row.emitted_as  # type: ignore[attr-defined]  # annotated above
        return badge("pending", "default") if ref is None else badge(ref, "success")

    @column("Verdict")
    def verdict(self, row: Record) -> Any:
        """Recompute the leaf now, and say what was found."""
        found = {each.record_id: each for each in examine(subject_id=row.subject_id)}[row.record_id]
        return badge(found.finding, "success" if found.intact else "danger")

    @column("Leaf")
    def shown_leaf(self, row: Record) -> Any:
        """Return the leaf in hexadecimal."""
        return mono(bytes(row.leaf).hex())

    @column("Salt")
    def shown_salt(self, row: Record) -> Any:
        """Return the salt in hexadecimal."""
        return None if row.salt is None else mono(bytes(row.salt).hex())

    @column("The exact bytes")
    def shown_payload(self, row: Record) -> Any:
        """Return the exact text; it is one line, and laying it out would make it another."""
        return None if row.payload is None else code(bytes(row.payload).decode("utf-8", "backslashreplace"))

    @column("Laid out")
    def laid_out(self, row: Record) -> Any:
        """Return the same for reading; bytes that are no JSON any more have no layout."""
        if row.payload is None:
            return None
        try:
            return as_json(json.loads(bytes(row.payload)))
        except ValueError:
            return None


@admin.register(SealedCheckpoint)
class CheckpointPages(RecordAdmin[SealedCheckpoint]):
    """Signed checkpoints, newest first: what a log was at each size."""

    list_display = ("shown_id", "created_at", "of_tenant", "region", "start", "size", "shown_root")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    ordering = ("-checkpoint_id",)
    heavy = ("note", "peaks")
    fieldsets = (
        (None, {"fields": ("shown_id", "of_tenant", "region", "start", "size", "created_at")}),
        ("Proof", {"fields": ("verdict", "shown_root", "shown_note")}),
    )

    @column("Checkpoint")
    def shown_id(self, row: SealedCheckpoint) -> Any:
        """Return its id."""
        return mono(row.checkpoint_id)

    @column("Tenant")
    def of_tenant(self, row: SealedCheckpoint) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Root")
    def shown_root(self, row: SealedCheckpoint) -> Any:
        """Return the root in hexadecimal."""
        return mono(bytes(row.root).hex())

    @column("Signature")
    def verdict(self, row: SealedCheckpoint) -> Any:
        """Check the note now, and say what was found."""
        try:
            opened = keys.ring().opened(row.note, origin=Log(row.tenant_id, row.region).origin)
        except notes.BadNoteError as error:
            return badge(str(error), "danger")
        agrees = (opened.size, opened.root) == (row.size, bytes(row.root))
        if not agrees:
            return badge("the row says other than its note", "danger")
        return badge("signed by this plane", "success")

    @column("Signed note")
    def shown_note(self, row: SealedCheckpoint) -> Any:
        """Return the note as it was signed."""
        return code(row.note)


@admin.register(Nodes)
class NodesPages(RecordAdmin[Nodes]):
    """Rows of tree nodes, newest first."""

    list_display = ("shown_id", "of_tenant", "region", "level", "first", "size")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    ordering = ("-nodes_id",)
    heavy = ("hashes",)
    fieldsets = ((None, {"fields": ("shown_id", "of_tenant", "region", "level", "first", "size", "shown_hashes")}),)

    @column("Nodes")
    def shown_id(self, row: Nodes) -> Any:
        """Return its id."""
        return mono(row.nodes_id)

    @column("Tenant")
    def of_tenant(self, row: Nodes) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Hashes")
    def shown_hashes(self, row: Nodes) -> Any:
        """Return the first of them in hexadecimal."""
        hashes = merkle.split(bytes(row.hashes))
        lines = [each.hex() for each in hashes[:SHOWN_HASHES]]
        return code("\n".join([*lines, "…"] if len(hashes) > SHOWN_HASHES else lines))


@admin.register(LegalHold)
class LegalHoldPages(RecordAdmin[LegalHold]):
    """Legal holds, newest first. `manage.py legal_hold` places and releases them."""

    list_display = ("shown_id", "placed_at", "of_tenant", "subject_id", "reason", "placed_by", "released_at")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    ordering = ("-hold_id",)
    fieldsets = (
        (None, {"fields": ("shown_id", "of_tenant", "subject_id", "reason")}),
        ("Who", {"fields": ("placed_by", "placed_at", "released_by", "released_at")}),
    )

    @column("Hold")
    def shown_id(self, row: LegalHold) -> Any:
        """Return its id."""
        return mono(row.hold_id)

    @column("Tenant")
    def of_tenant(self, row: LegalHold) -> str:
        """Return the tenant's id."""
        return row.tenant_id


@admin.register(Emission)
class EmissionPages(RecordAdmin[Emission]):
    """What the sink accepted: batches of a log, newest first."""

    list_display = ("accepted_at", "of_tenant", "region", "start", "size", "ref", "witnessed")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ()
    ordering = ("-emission_id",)
    fields = ("emission_id", "of_tenant", "region", "start", "size", "ref", "note", "accepted_at")

    @column("Tenant")
    def of_tenant(self, row: Emission) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Cosigned")
    def witnessed(self, row: Emission) -> Any:
        """Say whether the sink is a witness that cosigned the checkpoint."""
        return badge("by the sink", "success") if row.note else badge("no", "default")


@admin.register(Outlet)
class OutletPages(RecordAdmin[Outlet]):
    """How far each log was emitted, and what stands in the way."""

    list_display = ("of_tenant", "region", "emitted", "standing", "failing_since", "due_at", "error")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ()
    ordering = ("tenant_id", "region")
    fields = ("of_tenant", "region", "emitted", "owed", "standing", "tries", "failing_since", "due_at", "error")

    @column("Tenant")
    def of_tenant(self, row: Outlet) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Stands")
    def standing(self, row: Outlet) -> Any:
        """Say whether the sink accepts it."""
        return badge("accepted", "success") if row.failing_since is None else badge("refused", "danger")


@admin.register(Series)
class SeriesPages(RecordAdmin[Series]):
    """Refusals alike of which the first has a record: who loops, on what, and how often. Newest first."""

    list_display = ("shown_first", "opened_at", "of_tenant", "region", "standing", "closes_at", "closed_at")
    list_filter = (("tenant", AutocompleteSelectFilter), SinceFilter)
    search_fields = ("subject_id",)
    search_help_text = "The whole id of the first job"
    ordering = ("-record_id",)
    fieldsets = (
        (None, {"fields": ("shown_first", "of_tenant", "region", "opened_at", "closes_at", "closed_at", "standing")}),
        ("Proof", {"fields": ("record_id", "counted_by_id", "digest", "alike")}),
    )

    @column("First refused job")
    def shown_first(self, row: Series) -> Any:
        """Return the first job's id."""
        return mono(row.subject_id)

    @column("Tenant")
    def of_tenant(self, row: Series) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Refusals")
    def standing(self, row: Series) -> Any:
        """Return how many were counted, or that they are not counted yet."""
        if row.count is None:
            return badge("more may come" if row.joinable else "to be counted", "info")
        return badge(str(row.count), "default" if row.count == 1 else "warning")


@admin.register(SeriesMember)
class SeriesMemberPages(RecordAdmin[SeriesMember]):
    """Refused jobs for which the record of another stands, newest first."""

    list_display = ("shown_job", "joined_at", "of_tenant", "shown_record")
    list_filter = (("tenant", AutocompleteSelectFilter),)
    search_fields = ("subject_id",)
    search_help_text = "A whole job id"
    ordering = ("-joined_at",)
    fields = ("shown_job", "of_tenant", "shown_record", "digest", "joined_at")

    @column("Refused job")
    def shown_job(self, row: SeriesMember) -> Any:
        """Return the job's id."""
        return mono(row.subject_id)

    @column("Tenant")
    def of_tenant(self, row: SeriesMember) -> str:
        """Return the tenant's id."""
        return row.tenant_id

    @column("Series")
    def shown_record(self, row: SeriesMember) -> Any:
        """Return the record that stands for it, which names its series."""
        return mono(row.record_id)
