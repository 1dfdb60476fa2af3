"""Digests and the canonical JSON they are taken of."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson


def canonical(value: Any) -> bytes:
    """Return `value` as JSON bytes with sorted keys and no spaces: equal values, equal bytes.

    It agrees with RFC 8785 for what the plane writes: ASCII keys, integers, strings, no floats beyond double precision.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def sha256(data: bytes) -> str:
    """Return the digest of `data` as `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """Return the digest of `value`'s canonical JSON."""
    return sha256(canonical(value))
