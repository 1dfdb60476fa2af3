"""The evidence logs over HTTP: a checkpoint to keep, a record with its proof, and the proof between two sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import asked as query
from apps.core import problems
from apps.core.ids import BadIdError, parse_id
from apps.evidence import keys, notes, receipts
from apps.evidence.logs import Log
from apps.evidence.models import Record
from apps.evidence.queries import states_of
from apps.evidence.receipts import Signed
from apps.tenancy.authentication import principal_of
from apps.tenancy.context import in_tenant
from apps.tenancy.permissions import tenant_or_404
from apps.tenancy.queries import region_of
from apps.tenancy.reading import MAX_TENANTS_A_LIST, contexts

SIZE_DIGITS = 18
OF_LOG = [
    OpenApiParameter("tenant_id", str, description="needed when the token names several"),
    OpenApiParameter("region", str, description="the tenant's own if left out"),
]


class EnvelopeFields(serializers.Serializer[Any]):
    """A DSSE envelope around an in-toto statement."""

    payloadType = serializers.CharField()  # noqa: N815 - DSSE's own name
    payload = serializers.CharField(help_text="base64 of the exact bytes")
    signatures = serializers.ListField(child=serializers.DictField())


class ProvenRecordFields(serializers.Serializer[Any]):
    """What a stranger can check of a record."""

    predicate = serializers.CharField(help_text="admission, refusal, series, outcome")
    number = serializers.IntegerField(allow_null=True, help_text="its place in the log, from 0; null: not sealed yet")
    envelope = EnvelopeFields(allow_null=True)
    proof = serializers.CharField(allow_null=True, help_text="C2SP tlog-proof; `extra` is the salt")


class RecordFields(ProvenRecordFields):
    """A record, and by what it is found here."""

    record_id = serializers.UUIDField()
    tenant_id = serializers.CharField()
    origin = serializers.CharField(help_text="its log")
    subject = serializers.CharField()
    state = serializers.CharField(help_text="pending, emitted: whether the evidence sink has it")
    created_at = serializers.DateTimeField()


class SeriesFields(serializers.Serializer[Any]):
    """Of a refusal for which another's record stands: whose, and the proof that this one was counted with it."""

    first = serializers.CharField(help_text="the refusal whose records these are")
    entry = serializers.DictField(
        child=serializers.CharField(), help_text="this refusal: job, params_digest, refused_at"
    )
    count = serializers.IntegerField(allow_null=True, help_text="of refusals; null: the series is not counted yet")
    index = serializers.IntegerField(allow_null=True, help_text="the entry's place among them")
    path = serializers.ListField(
        child=serializers.CharField(help_text="base64"),
        allow_null=True,
        help_text="RFC 9162 §2.1.3, to the series' root",
    )


class ReceiptFields(serializers.Serializer[Any]):
    """A run's receipt: all its records, proven under one checkpoint; docs/verify_evidence.py checks it offline."""

    format = serializers.CharField()
    subject = serializers.CharField()
    origin = serializers.CharField()
    complete = serializers.BooleanField(help_text="the run has ended, and all its records are sealed")
    checkpoint = serializers.CharField(allow_null=True)
    records = ProvenRecordFields(many=True)
    series = SeriesFields(allow_null=True, help_text="null: the records are the run's own")


class CheckpointFields(serializers.Serializer[Any]):
    """A log's newest signed checkpoint. Keep it: against it a log that was cut off or rewritten is found out."""

    origin = serializers.CharField()
    tenant_id = serializers.CharField()
    region = serializers.CharField()
    size = serializers.IntegerField()
    root_hash = serializers.CharField(help_text="base64")
    sealed_at = serializers.DateTimeField()
    note = serializers.CharField(help_text="C2SP tlog-checkpoint, as it was signed")
    keys = serializers.ListField(child=serializers.CharField(), help_text="C2SP verifier keys, the newest last")


class ConsistencyFields(serializers.Serializer[Any]):
    """The proof (RFC 9162 §2.1.4) that a log of `to` records begins with that of `from`."""

    origin = serializers.CharField()
    to = serializers.IntegerField()
    root_from = serializers.CharField(help_text="base64")
    root_to = serializers.CharField(help_text="base64")
    proof = serializers.ListField(child=serializers.CharField(help_text="base64"))
    checkpoint = serializers.CharField(help_text="the newest, at or beyond `to`")

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, with the one whose name Python keeps for itself."""
        return {**super().get_fields(), "from": serializers.IntegerField()}


class LastCheckpoint(APIView):
    """A log's newest checkpoint."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "evidence:read"}

    @extend_schema(
        operation_id="evidence_checkpoint",
        parameters=OF_LOG,
        responses=CheckpointFields,
        tags=["evidence"],
        description="The newest signed checkpoint of a tenant's log in a region, and the keys that check it.",
    )
    def get(self, request: Request) -> Response:
        """Read the newest checkpoint."""
        with _log(request) as log:
            last = _last(log)
        return Response(
            {
                "origin": log.origin,
                "tenant_id": log.tenant_id,
                "region": log.region,
                "size": last.size,
                "root_hash": notes.encoded(last.root),
                "sealed_at": last.sealed_at,
                "note": last.note,
                "keys": keys.ring().verifier_keys(origin=log.origin),
            }
        )


class Consistency(APIView):
    """The proof between two sizes."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "evidence:read"}

    @extend_schema(
        operation_id="evidence_consistency",
        parameters=[
            OpenApiParameter("from", int, required=True, description="the size of a checkpoint that you kept"),
            OpenApiParameter("to", int, description="a later size; the newest if left out"),
            *OF_LOG,
        ],
        responses=ConsistencyFields,
        tags=["evidence"],
        description="Proof that nothing under an older checkpoint was changed, moved or taken out since.",
    )
    def get(self, request: Request) -> Response:
        """Read a consistency proof."""
        with _log(request, known={"from", "to"}) as log:
            old, new = _size(request, "from"), _size(request, "to")
            if old is None:
                raise query.bad_field("from", "the size of an older checkpoint is needed")
            last = _last(log)
            new = last.size if new is None else new
            if new > last.size:
                raise query.bad_field("to", f"the log has {last.size} records by now")
            if old > new:
                raise query.bad_field("from", f"a size up to {new} would be right")
            proof = receipts.consistency(log, old=old, new=new)
            roots = [receipts.root_at(log, size=size) for size in (old, new)]
        return Response(
            {
                "origin": log.origin,
                "from": old,
                "to": new,
                "root_from": notes.encoded(roots[0]),
                "root_to": notes.encoded(roots[1]),
                "proof": [notes.encoded(each) for each in proof],
                "checkpoint": last.note,
            }
        )


class OneRecord(APIView):
    """One record."""

    required_scopes: ClassVar[dict[str, str]] = {"GET": "evidence:read"}

    @extend_schema(
        operation_id="evidence_read",
        parameters=[
            OpenApiParameter(
                "tenant_id", str, description=f"needed when the token names more than {MAX_TENANTS_A_LIST}"
            )
        ],
        responses=RecordFields,
        tags=["evidence"],
        description="One record: its signed envelope, and the proof of its place in the log.",
    )
    def get(self, request: Request, record_id: str) -> Response:
        """Read one record."""
        asked = query.query(request, known={"tenant_id"})
        try:
            wanted = parse_id(record_id)
        except BadIdError as error:
            raise problems.NotFound from error
        for context in contexts(principal_of(request), tenant_id=asked.get("tenant_id")):
            with context:
                record = Record.objects.filter(record_id=wanted).first()
                if record is not None:
                    return Response(_record(record))
        raise problems.NotFound


@contextmanager
def _log(request: Request, *, known: Collection[str] = ()) -> Iterator[Log]:
    """Yield the log that a request is about, in its tenant's context: the tenant it names, or its token's only one."""
    asked = query.query(request, known={"tenant_id", "region", *known})
    tenant_id = tenant_or_404(principal_of(request), asked.get("tenant_id"))
    with in_tenant(tenant_id):
        region = asked.get("region") or region_of(tenant_id)
        if region is None:
            raise problems.NotFound
        yield Log(tenant_id, region)


def _record(record: Record) -> dict[str, Any]:
    log = Log(record.tenant_id, record.region)
    return {
        "record_id": str(record.record_id),
        "tenant_id": record.tenant_id,
        "origin": log.origin,
        "subject": f"{record.kind}:{record.subject_id}",
        "state": states_of([record.record_id])[record.record_id][0],
        "created_at": record.created_at,
        **receipts.proven(record, under=receipts.last_checkpoint(log), ring=keys.ring()),
    }


def _last(log: Log) -> Signed:
    last = receipts.last_checkpoint(log)
    if last is None:
        raise problems.NotFound("Nothing has been sealed in this log yet.", code="nothing_sealed")
    return last


def _size(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > SIZE_DIGITS:
        raise query.bad_field(name, "a number of records would be right")
    return int(text)
