"""Whose tokens are believed, and how far: the local key pair, and what `OPS_TRUSTED_ISSUERS` lists.

Keys come from files only. A key set fetched at run time would let whoever answers that address, or steers it, sign; so
rotation is an edit of the file, read again as soon as it changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from django.conf import settings
from joserfc.jwk import OKPKey

from apps.core import strict_json
from apps.tenancy import keys
from apps.tenancy.models import TENANT_ID
from apps.tenancy.principals import ALL, SCOPES, AllTenants, Tenants

LOCAL_ISSUER: Final = "operations"
AUDIENCE: Final = "operations"
_MEMBERS: Final = frozenset({"jwks", "audiences", "scopes", "tenants"})


class BadTrustedIssuersError(RuntimeError):
    """The file of trusted issuers cannot be used; the message names the issuer and the member."""


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """One issuer and the bounds of what its tokens may say here."""

    name: str
    keys: Mapping[str, OKPKey]
    audiences: frozenset[str]
    scopes: frozenset[str]
    tenants: Tenants


def find(name: str) -> Issuer | None:
    """Return the trusted issuer called `name`, None for a stranger.

    Raises `BadTrustedIssuersError` or the errors of `keys` where the files that would tell cannot be used.
    """
    if name == LOCAL_ISSUER:
        key = keys.signing_key()
        return Issuer(name=name, keys={str(key.kid): key}, audiences=frozenset({AUDIENCE}), scopes=SCOPES, tenants=ALL)
    path = settings.ENVIRONMENT.trusted_issuers
    return None if path is None else read(path).get(name)


def read(path: Path) -> Mapping[str, Issuer]:
    """Return the issuers that the file at `path` trusts; raise `BadTrustedIssuersError` naming what is wrong in it."""
    try:
        return _files.read(path)
    except OSError as error:
        raise BadTrustedIssuersError(f"OPS_TRUSTED_ISSUERS: {path} cannot be read: {error.strerror}") from error


def _parse(path: Path) -> Mapping[str, Issuer]:
    try:
        document = strict_json.loads(path.read_bytes())
    except strict_json.BadJSONError as error:
        raise BadTrustedIssuersError(f"OPS_TRUSTED_ISSUERS: {path}: {error.field}: {error.message}") from error
    if not isinstance(document, dict):
        raise BadTrustedIssuersError(f"OPS_TRUSTED_ISSUERS: {path} is not an object of issuers")
    return {name: _issuer(name, entry) for name, entry in document.items()}


def _issuer(name: str, entry: Any) -> Issuer:
    if name == LOCAL_ISSUER:
        raise _bad(name, "this name is the plane's own; its key pair lies in OPS_KEYS")
    if not isinstance(entry, dict) or not {"jwks", "scopes", "tenants"} <= entry.keys() <= _MEMBERS:
        raise _bad(name, "needs jwks, scopes and tenants, may have audiences, and nothing else")
    scopes = _words(name, entry, "scopes")
    if unknown := scopes - SCOPES:
        raise _bad(name, f"scopes: there is no {min(unknown)!r}")
    return Issuer(
        name=name,
        keys=_keys(name, entry["jwks"]),
        audiences=_words(name, entry, "audiences") if "audiences" in entry else frozenset({AUDIENCE}),
        scopes=scopes,
        tenants=_tenants(name, entry),
    )


def _tenants(name: str, entry: dict[str, Any]) -> Tenants:
    words = _words(name, entry, "tenants")
    if words == {AllTenants.ALL.value}:
        return ALL
    if bad := [word for word in words if not is_tenant_id(word)]:
        raise _bad(name, f"tenants: {min(bad)!r} is no tenant id")
    return words


def _words(name: str, entry: dict[str, Any], member: str) -> frozenset[str]:
    words = entry[member]
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise _bad(name, f"{member}: a list of words, at least one, is needed")
    return frozenset(words)


def _keys(name: str, jwks: Any) -> dict[str, OKPKey]:
    entries = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(entries, list) or not entries:
        raise _bad(name, 'jwks: a JWK set {"keys": [...]} with at least one key is needed')
    found: dict[str, OKPKey] = {}
    for position, entry in enumerate(entries):
        key = _public_key(name, f"jwks.keys[{position}]", entry)
        if str(key.kid) in found:
            raise _bad(name, f"jwks.keys[{position}]: the kid is another key's as well")
        found[str(key.kid)] = key
    return found


def _public_key(name: str, place: str, entry: Any) -> OKPKey:
    if not isinstance(entry, dict) or entry.get("kty") != "OKP" or entry.get("crv") != "Ed25519":
        raise _bad(name, f"{place}: only Ed25519 keys (kty OKP) are taken")
    if "d" in entry:
        raise _bad(name, f"{place}: a private key does not belong here; treat it as lost and make another")
    if not isinstance(entry.get("kid"), str) or not entry["kid"]:
        raise _bad(name, f"{place}: a kid is needed")
    try:
        return OKPKey.import_key(cast("dict[str, str | list[str]]", entry))
    except Exception as error:
        raise _bad(name, f"{place}: not a usable key") from error


def _bad(name: str, why: str) -> BadTrustedIssuersError:
    return BadTrustedIssuersError(f"OPS_TRUSTED_ISSUERS: issuer {name!r}: {why}")


def is_tenant_id(text: str) -> bool:
    """Return whether `text` has the form of a tenant's id (not whether there is such a tenant)."""
    return _TENANT_ID.search(text) is not None


# The model's own pattern: a token may not name what cannot exist.
_TENANT_ID: Final = re.compile(getattr(TENANT_ID.regex, "pattern", TENANT_ID.regex))
_files: Final = keys.CachedFile(_parse)
