"""Tokens: signed here for modules and for our own calls out, verified here at every call in.

The signature is joserfc's work. What it lets pass is ours to refuse, before it sees the token: another `typ`, a missing
`kid`, repeated claims, claims nested until the parser's stack ends, megabytes of payload. Only `Ed25519` is known, keys
are chosen by (issuer, kid) out of files, and no header may bring or point to a key. Anything unexpected while checking
is a refusal too: no way through this module ends in a principal but the whole way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from apps.core import ids, strict_json
from apps.tenancy import issuers, keys
from apps.tenancy.principals import ALL, SCOPES, AllTenants, ServicePrincipal, Tenants

ALGORITHM: Final = "Ed25519"
TYPE: Final = "at+jwt"
LONGEST_LIFE_S: Final = 900
CLOCK_SKEW_S: Final = 60
LARGEST: Final = 8 * 1024
MOST_TENANTS: Final = 256
_PARTS: Final = 3
_HEADER: Final = frozenset({"alg", "typ", "kid"})
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}")
_TOKEN_ID = re.compile(r"[\x21-\x7e]{1,64}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 §3.3
_LIMITS: Final = strict_json.Limits(depth=4, members=32, nodes=MOST_TENANTS * 2)
_REGISTRY: Final = jws.JWSRegistry(algorithms=[ALGORITHM])

log = structlog.stdlib.get_logger(__name__)


class TokenError(ValueError):
    """A token is not to be believed; the message says why in words its sender may read."""

    @property
    def sentence(self) -> str:
        """The message as a problem's detail."""
        return f"{str(self)[0].upper()}{str(self)[1:]}."


class BadTokenRequestError(ValueError):
    """A token cannot be issued as asked; `what` is the word at fault: subject, tenant, scope or ttl."""

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message)
        self.what = what


def issue(
    *,
    subject: str,
    tenants: Sequence[str],
    scopes: Sequence[str],
    now: datetime,
    ttl_s: int = LONGEST_LIFE_S,
    audience: str = issuers.AUDIENCE,
) -> str:
    """Return a token signed by the local key pair, valid from `now` for `ttl_s` seconds (1 to 900).

    `tenants` are tenant ids, or exactly `["*"]`. `audience` is another module's name where the token is for a call out;
    scopes are then that module's own words. Raises `BadTokenRequestError`, and `keys.KeysMissingError` before set-up.
    """
    if not _SUBJECT.fullmatch(subject):
        raise BadTokenRequestError("subject", "1 to 128 letters, digits or . _ : @ / - are a subject")
    if not tenants or (list(tenants) != [AllTenants.ALL.value] and not all(map(issuers.is_tenant_id, tenants))):
        raise BadTokenRequestError("tenant", "one or more tenant ids, or '*' alone, are needed")
    if not scopes or not all(map(_SCOPE.fullmatch, scopes)):
        raise BadTokenRequestError("scope", "one or more scopes are needed")
    if audience == issuers.AUDIENCE and (unknown := set(scopes) - SCOPES):
        raise BadTokenRequestError("scope", f"there is no {min(unknown)!r}; there are: {', '.join(sorted(SCOPES))}")
    if not 1 <= ttl_s <= LONGEST_LIFE_S:
        raise BadTokenRequestError("ttl", f"1 to {LONGEST_LIFE_S} seconds are allowed")
    key = keys.signing_key()
    issued = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": issuers.LOCAL_ISSUER,
        "aud": audience,
        "sub": subject,
        "iat": issued,
        "exp": issued + ttl_s,
        "jti": str(ids.uuid7()),
        "scope": " ".join(dict.fromkeys(scopes)),
        "tenants": list(dict.fromkeys(tenants)),
    }
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}
    token = jwt.encode(header, claims, key, algorithms=[ALGORITHM])
    if len(token) > LARGEST or len(claims["tenants"]) > MOST_TENANTS:
        raise BadTokenRequestError(
            "tenant", f"too many for one token: at most {MOST_TENANTS}, and {LARGEST} bytes in all"
        )
    return token


def verify(token: str, *, now: datetime) -> ServicePrincipal:
    """Return who sent `token` and what they may do; raise `TokenError`, and nothing else, for any other token."""
    try:
        return _verify(token, now=int(now.timestamp()))
    except TokenError:
        raise
    except Exception as error:  # whatever breaks while checking, the answer is no; the log has the cause
        log.exception("token_check_broke")
        raise TokenError("the token cannot be checked") from error


def _verify(token: str, *, now: int) -> ServicePrincipal:
    if len(token) > LARGEST:
        raise TokenError(f"the token is longer than {LARGEST} bytes")
    if not token.isascii():
        raise TokenError("the token is not a compact JWT")
    parts = token.encode("ascii").split(b".")
    if len(parts) != _PARTS or not all(parts):
        raise TokenError("the token is not a compact JWT")
    kid = _checked_header(_json("header", parts[0]))
    claims = _json("claims", parts[1])
    issuer = issuers.find(_text(claims, "iss"))
    key = issuer.keys.get(kid) if issuer else None
    if issuer is None or key is None:
        raise TokenError("the token's issuer and kid name no key that is trusted here")
    try:
        jws.deserialize_compact(token, key, registry=_REGISTRY)
    except JoseError as error:
        raise TokenError("the token's signature does not fit") from error
    _check_lifetime(claims, now=now)
    _check_audience(claims, issuer)
    return _principal(claims, issuer)


def _json(part: str, segment: bytes) -> dict[str, Any]:
    """Return the object in a segment; refuse what two readers could read differently."""
    try:
        value = strict_json.loads(urlsafe_b64decode(segment), limits=_LIMITS)
    except strict_json.BadJSONError as error:
        raise TokenError(f"the token's {part}: {error.message}") from error
    except ValueError as error:
        raise TokenError(f"the token's {part}: not base64url") from error
    if not isinstance(value, dict):
        raise TokenError(f"the token's {part}: not an object")
    return value


def _checked_header(header: dict[str, Any]) -> str:
    """Return the header's kid. No other member may stand there: `jku`, `x5u`, `jwk`, `crit`, `b64` all change trust."""
    if header.get("alg") != ALGORITHM:
        raise TokenError(f"the token's alg is not {ALGORITHM}")
    if header.get("typ") != TYPE:
        raise TokenError(f"the token's typ is not {TYPE}")
    if header.keys() - _HEADER:
        raise TokenError("the token's header has members besides alg, typ and kid")
    return _text(header, "kid")


def _check_lifetime(claims: dict[str, Any], *, now: int) -> None:
    issued, expires = _instant(claims, "iat"), _instant(claims, "exp")
    if issued > now + CLOCK_SKEW_S:
        raise TokenError("the token is from the future")
    if not issued < expires <= issued + LONGEST_LIFE_S:
        raise TokenError(f"the token does not live between 1 and {LONGEST_LIFE_S} seconds")
    if expires <= now:
        raise TokenError("the token has expired")
    if "nbf" in claims and _instant(claims, "nbf") > now + CLOCK_SKEW_S:
        raise TokenError("the token is not valid yet")


def _check_audience(claims: dict[str, Any], issuer: issuers.Issuer) -> None:
    audience = claims.get("aud")
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise TokenError("the token's aud is neither a word nor a list of words")
    if issuer.audiences.isdisjoint(named):
        raise TokenError("the token is meant for someone else")


def _principal(claims: dict[str, Any], issuer: issuers.Issuer) -> ServicePrincipal:
    """Return the principal the claims describe, within the issuer's bounds.

    Scopes beyond them are dropped: the 403 that follows names the missing one. Tenants beyond them are dropped too,
    but a token left with none is refused, since it was never meant for this plane's tenants.
    """
    subject, token_id = _text(claims, "sub"), _text(claims, "jti")
    if not _SUBJECT.fullmatch(subject):
        raise TokenError("the token's sub is not a module's name")
    if not _TOKEN_ID.fullmatch(token_id):
        raise TokenError("the token's jti is not 1 to 64 printable characters")
    scope = claims.get("scope")
    if not isinstance(scope, str) or (scope and not _SCOPE.fullmatch(scope)):
        raise TokenError("the token's scope is not words with single spaces between them")
    return ServicePrincipal(
        issuer=issuer.name,
        subject=subject,
        scopes=frozenset(scope.split()) & issuer.scopes,
        tenants=_within(_tenants(claims), issuer.tenants),
        token_id=token_id,
        expires_at=datetime.fromtimestamp(claims["exp"], tz=UTC),
    )


def _tenants(claims: dict[str, Any]) -> Tenants:
    tenants = claims.get("tenants")
    if tenants == [AllTenants.ALL.value]:
        return ALL
    if not isinstance(tenants, list) or not 0 < len(tenants) <= MOST_TENANTS:
        raise TokenError(f"the token's tenants are not a list of 1 to {MOST_TENANTS}")
    if not all(isinstance(tenant, str) and issuers.is_tenant_id(tenant) for tenant in tenants):
        raise TokenError("the token's tenants are not tenant ids, nor '*' alone")
    return frozenset(tenants)


def _within(asked: Tenants, allowed: Tenants) -> Tenants:
    if isinstance(allowed, AllTenants):
        return asked
    clipped = allowed if isinstance(asked, AllTenants) else asked & allowed
    if not clipped:
        raise TokenError("the token's issuer may not speak for these tenants")
    return clipped


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise TokenError(f"the token has no {name}")
    return value


def _instant(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TokenError(f"the token's {name} is not a whole number of seconds")
    return value
