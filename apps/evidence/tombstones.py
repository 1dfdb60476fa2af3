"""Tombstones: records that say which others lost their bytes, by whom and under which policy, and are signed. Pure.

Whoever can write rows can write a record, and the sealer seals what it finds. So a tombstone carries a signature of the
log's key: an erasure that the plane did not make stays unexplained, whatever is written to explain it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from apps.core.digests import canonical
from apps.core.ids import uuid7
from apps.evidence import dsse, notes
from apps.evidence.logs import Log
from apps.evidence.models import Predicate
from apps.evidence.ring import KeyRing, LogKey
from apps.evidence.statements import Statement, statement

KIND = "erasure"
SIGNED_TYPE = "application/vnd.operations.erasure+json"


class Hole(NamedTuple):
    """A record that loses its bytes: its number and its leaf, which stay."""

    number: int
    leaf: bytes


def tombstone(
    log: Log, *, holes: Sequence[Hole], retention_days: int, actor: str, ring: KeyRing
) -> tuple[str, Statement]:
    """Return (subject id, statement) of the erasure of `holes`, signed by every key that signs now."""
    erasure_id = str(uuid7())
    body: dict[str, Any] = {
        "tenant": log.tenant_id,
        "region": log.region,
        "erased": [{"number": hole.number, "leaf": hole.leaf.hex()} for hole in holes],
        "policy": {"retention_days": retention_days},
        "actor": actor,
    }
    message = _message(erasure_id, body)
    signatures = [{"keyid": kid, "sig": notes.encoded(key.sign(message))} for kid, key in ring.signing]
    digest = hashlib.sha256(canonical(body)).hexdigest()
    return erasure_id, statement(
        predicate=Predicate.ERASURE,
        kind=KIND,
        subject_id=erasure_id,
        subject_digest=f"sha256:{digest}",
        body={**body, "signatures": signatures},
    )


def explained(log: Log, tombstones: Iterable[tuple[int | None, bytes]], *, ring: KeyRing) -> dict[int, bytes]:
    """Return the holes, number → leaf, that a log's tombstones (number, payload) explain; others explain none."""
    found: dict[int, bytes] = {}
    for number, payload in tombstones:
        try:
            said = json.loads(payload)
            name, body = said["subject"][0]["name"], dict(said["predicate"])
            signatures = body.pop("signatures")
            keys = {key.kid: key.public for key in ring.keys if _in_use(key, log, number)}
            if (body["tenant"], body["region"]) == log and _is_signed(name, body, signatures, keys=keys):
                found |= {each["number"]: bytes.fromhex(each["leaf"]) for each in body["erased"]}
        except (ValueError, LookupError, TypeError, AttributeError):
            continue  # bytes that are no tombstone explain nothing; what was done to them is told where they stand
    return found


def _is_signed(name: str, body: Mapping[str, Any], signatures: Any, *, keys: Mapping[str, bytes]) -> bool:
    """Return whether one of `keys` signed the tombstone; raise `ValueError` if none did."""
    envelope = {
        "payloadType": SIGNED_TYPE,
        "payload": notes.encoded(_signed_bytes(name.removeprefix(f"{KIND}:"), body)),
        "signatures": [each for each in signatures if each["keyid"] in keys],
    }
    return bool(dsse.opened(envelope, keys=keys))


def _in_use(key: LogKey, log: Log, number: int | None) -> bool:
    """Return whether a key may have signed a tombstone of `number`; None: one that still waits for its seal."""
    if key.ends is None:
        return True
    return number is not None and number < key.ends.get(log.origin, 0)


def _message(erasure_id: str, body: Mapping[str, Any]) -> bytes:
    return dsse.pae(payload_type=SIGNED_TYPE, payload=_signed_bytes(erasure_id, body))


def _signed_bytes(erasure_id: str, body: Mapping[str, Any]) -> bytes:
    return canonical({"erasure": erasure_id, **body})
