"""What a record says: an in-toto statement as exact bytes, and the leaf that commits to it. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.core.digests import canonical
from apps.core.ids import uuid7
from apps.evidence.dsse import STATEMENT_TYPE
from apps.evidence.merkle import leaf_of
from apps.evidence.models import Predicate

PREDICATE_TYPE = "https://opsplatform.dev/evidence/{predicate}/v1"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A record to be inserted. `payload`, `salt` and `leaf` are bytes; `leaf` is 32 of them."""

    record_id: UUID
    predicate: Predicate
    payload: bytes
    salt: bytes
    leaf: bytes


def statement(
    *, predicate: Predicate, kind: str, subject_id: str, subject_digest: str, body: Mapping[str, Any]
) -> Statement:
    """Return the statement that `body` is true of the subject; `subject_digest` is `sha256:<hex>` of its request."""
    payload = canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": f"{kind}:{subject_id}", "digest": {"sha256": subject_digest.removeprefix("sha256:")}}],
            "predicateType": PREDICATE_TYPE.format(predicate=predicate.value),
            "predicate": dict(body),
        }
    )
    salt = os.urandom(16)
    return Statement(
        record_id=uuid7(), predicate=predicate, payload=payload, salt=salt, leaf=leaf_of(payload=payload, salt=salt)
    )
