"""DSSE envelopes: Ed25519 over the exact bytes of a payload and its type (PAE), as in-toto signs. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from apps.evidence.notes import decoded, encoded

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


class BadEnvelopeError(ValueError):
    """No known key signed an envelope's payload, or one that claims to has not."""


def pae(*, payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: what is signed, so that type and payload cannot be shifted."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def envelope(
    payload: bytes, *, keys: Sequence[tuple[str, Ed25519PrivateKey]], payload_type: str = PAYLOAD_TYPE
) -> dict[str, Any]:
    """Return `payload` in an envelope signed by each of `keys` (key id, key)."""
    message = pae(payload_type=payload_type, payload=payload)
    return {
        "payloadType": payload_type,
        "payload": encoded(payload),
        "signatures": [{"keyid": name, "sig": encoded(key.sign(message))} for name, key in keys],
    }


def opened(document: Mapping[str, Any], *, keys: Mapping[str, bytes]) -> tuple[bytes, set[str]]:
    """Return an envelope's payload and which of `keys` (key id → raw public key) signed it; raise `BadEnvelopeError`.

    A `keyid` is only a hint and is not signed: it chooses the key to try, and proves nothing.
    """
    payload = base64.b64decode(document["payload"], validate=True)  # what it says is signed, however it is spelled
    message = pae(payload_type=document["payloadType"], payload=payload)
    by: set[str] = set()
    for signature in document["signatures"]:
        public = keys.get(signature.get("keyid", ""))
        if public is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(decoded(signature["sig"]), message)
        except InvalidSignature as error:
            raise BadEnvelopeError(f"the signature of key {signature['keyid']} does not match the payload") from error
        by.add(signature["keyid"])
    if not by:
        raise BadEnvelopeError("no known key signed the payload")
    return payload, by
