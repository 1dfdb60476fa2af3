"""Foreign issuers: believed within the bounds that their entry draws, and not a step further."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey, RSAKey
from pytest_django import Settings

from apps.tenancy import issuers, keys, tokens
from apps.tenancy.principals import ALL

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAME = "https://acquisition.example"
KEY = OKPKey.generate_key("Ed25519", auto_kid=True)
OTHER_KEY = OKPKey.generate_key("Ed25519", auto_kid=True)

Trust = Callable[[Any], Path]


def entry(**changes: Any) -> dict[str, Any]:
    right = {
        "jwks": {"keys": [KEY.as_dict(private=False)]},
        "scopes": ["jobs:submit", "jobs:read"],
        "tenants": ["acme", "globex"],
    }
    return {name: value for name, value in (right | changes).items() if value is not ...}


def token(key: OKPKey = KEY, **changes: Any) -> str:
    now = int(NOW.timestamp())
    claims = {
        "iss": NAME,
        "aud": "operations",
        "sub": "acquisition",
        "iat": now,
        "exp": now + 300,
        "jti": "1",
        "scope": "jobs:submit",
        "tenants": ["acme"],
    } | changes
    header = {"alg": "Ed25519", "typ": "at+jwt", "kid": key.kid}
    return jwt.encode(header, claims, key, algorithms=["Ed25519"])


@pytest.fixture
def trust(tmp_path: Path, settings: Settings) -> Trust:
    """Write the file of trusted issuers."""
    path = tmp_path / "issuers.json"
    keys.ensure_keys(folder=tmp_path / "keys")
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=tmp_path / "keys", trusted_issuers=path)

    def write(document: Any) -> Path:
        path.unlink(missing_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


def test_a_trusted_issuer_is_believed_within_its_bounds(trust: Trust) -> None:
    trust({NAME: entry()})
    principal = tokens.verify(token(), now=NOW)
    assert (principal.issuer, principal.subject) == (NAME, "acquisition")
    assert principal.scopes == {"jobs:submit"}
    assert principal.tenants == frozenset({"acme"})


def test_scopes_beyond_the_bounds_are_dropped(trust: Trust) -> None:
    trust({NAME: entry()})
    assert tokens.verify(token(scope="jobs:submit jobs:control"), now=NOW).scopes == {"jobs:submit"}


def test_tenants_beyond_the_bounds_are_dropped_and_with_none_left_the_token_is_refused(trust: Trust) -> None:
    trust({NAME: entry()})
    assert tokens.verify(token(tenants=["acme", "initech"]), now=NOW).tenants == frozenset({"acme"})
    assert tokens.verify(token(tenants=["*"]), now=NOW).tenants == frozenset({"acme", "globex"})
    with pytest.raises(tokens.TokenError, match="may not speak for these tenants"):
        tokens.verify(token(tenants=["initech"]), now=NOW)


def test_a_platform_module_may_be_trusted_for_all_tenants(trust: Trust) -> None:
    trust({NAME: entry(tenants=["*"])})
    assert tokens.verify(token(tenants=["*"]), now=NOW).tenants is ALL
    assert tokens.verify(token(tenants=["initech"]), now=NOW).tenants == frozenset({"initech"})


def test_an_issuers_key_speaks_for_no_other_issuer(trust: Trust) -> None:
    other = {"jwks": {"keys": [OTHER_KEY.as_dict(private=False)]}, "scopes": ["jobs:control"], "tenants": ["*"]}
    trust({NAME: entry(), "https://other.example": other})
    for forged in (
        token(iss="https://other.example"),
        token(OTHER_KEY),
        token(iss="operations"),
        token(iss="https://stranger.example"),
    ):
        with pytest.raises(tokens.TokenError, match="no key that is trusted"):
            tokens.verify(forged, now=NOW)


def test_the_local_key_does_not_speak_for_a_foreign_issuer(trust: Trust) -> None:
    trust({NAME: entry()})
    with pytest.raises(tokens.TokenError):
        tokens.verify(token(keys.signing_key()), now=NOW)


def test_an_issuer_may_use_an_audience_of_its_own(trust: Trust) -> None:
    trust({NAME: entry(audiences=["https://ops.example"])})
    assert tokens.verify(token(aud=["https://ops.example"]), now=NOW).subject == "acquisition"
    with pytest.raises(tokens.TokenError, match="meant for someone else"):
        tokens.verify(token(), now=NOW)


def test_an_issuer_that_is_struck_from_the_file_is_refused_at_once(trust: Trust) -> None:
    trust({NAME: entry()})
    assert tokens.verify(token(), now=NOW).subject == "acquisition"
    trust({})
    with pytest.raises(tokens.TokenError):
        tokens.verify(token(), now=NOW)


def test_keys_are_rotated_by_an_edit(trust: Trust) -> None:
    trust({NAME: entry(jwks={"keys": [KEY.as_dict(private=False), OTHER_KEY.as_dict(private=False)]})})
    assert tokens.verify(token(KEY), now=NOW).subject == "acquisition"
    assert tokens.verify(token(OTHER_KEY), now=NOW).subject == "acquisition"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        pytest.param("{", "not JSON", id="no JSON"),
        pytest.param([], "not an object of issuers", id="a list"),
        pytest.param('{"a": {}, "a": {}}', "a: said twice", id="an issuer twice"),
        pytest.param({"operations": entry()}, "'operations': this name is the plane's own", id="our own name"),
        pytest.param({NAME: entry(jwks=...)}, "needs jwks", id="no keys"),
        pytest.param({NAME: entry(tenants=...)}, "needs jwks, scopes and tenants", id="no tenants"),
        pytest.param({NAME: entry(jwks_uri="https://x")}, "nothing else", id="an address to fetch keys from"),
        pytest.param({NAME: entry(jwks={"keys": []})}, "at least one key", id="an empty key set"),
        pytest.param({NAME: entry(jwks="https://x")}, "jwks: a JWK set", id="an address for keys"),
        pytest.param({NAME: entry(jwks={"keys": [KEY.as_dict(private=True)]})}, "a private key", id="a private key"),
        pytest.param(
            {NAME: entry(jwks={"keys": [{"kty": "oct", "k": "AAAA", "kid": "x"}]})}, "only Ed25519", id="a secret"
        ),
        pytest.param(
            {NAME: entry(jwks={"keys": [RSAKey.generate_key(2048, auto_kid=True).as_dict(private=False)]})},
            r"jwks\.keys\[0\]: only Ed25519",
            id="RSA",
        ),
        pytest.param(
            {NAME: entry(jwks={"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "k"}]})},
            "not a usable key",
            id="a key cut short",
        ),
        pytest.param(
            {NAME: entry(jwks={"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]})}, "a kid is needed", id="no kid"
        ),
        pytest.param(
            {NAME: entry(jwks={"keys": [KEY.as_dict(private=False)] * 2})}, "another key's as well", id="a kid twice"
        ),
        pytest.param({NAME: entry(scopes=["jobs:all"])}, "there is no 'jobs:all'", id="an unknown scope"),
        pytest.param({NAME: entry(scopes="jobs:read")}, "scopes: a list", id="scopes as a word"),
        pytest.param({NAME: entry(tenants=["*", "acme"])}, r"tenants: '\*' is no tenant id", id="star among others"),
        pytest.param({NAME: entry(audiences=[])}, "audiences: a list", id="no audience"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_lets_nobody_in(trust: Trust, document: Any, says: str) -> None:
    path = trust(document)
    with pytest.raises(issuers.BadTrustedIssuersError, match=says) as caught:
        issuers.read(path)
    assert str(caught.value).startswith("OPS_TRUSTED_ISSUERS: ")
    with pytest.raises(tokens.TokenError):
        tokens.verify(token(), now=NOW)


def test_a_broken_file_does_not_shut_out_the_planes_own_tokens(trust: Trust) -> None:
    trust("{")
    own = tokens.issue(subject="m", tenants=["acme"], scopes=["jobs:read"], now=NOW)
    assert tokens.verify(own, now=NOW).subject == "m"


def test_a_missing_file_is_named(trust: Trust, tmp_path: Path) -> None:
    with pytest.raises(issuers.BadTrustedIssuersError, match="cannot be read"):
        issuers.read(tmp_path / "nowhere.json")
