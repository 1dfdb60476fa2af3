"""Tokens under attack: whatever is not exactly what the contract says is refused by a `TokenError`, by nothing else."""

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from joserfc.jwk import OKPKey
from pytest_django import Settings

from apps.tenancy import keys, tokens
from apps.tenancy.principals import ALL, SCOPES

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW_S = int(NOW.timestamp())


@pytest.fixture(autouse=True)
def _own_keys(tmp_path: Path, settings: Settings) -> None:
    keys.ensure_keys(folder=tmp_path / "keys")
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=tmp_path / "keys", trusted_issuers=None)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """A set of claims that is right, but for `changes`; a claim changed to `...` is left out."""
    right = {
        "iss": "operations",
        "aud": "operations",
        "sub": "data-acquisition",
        "iat": NOW_S,
        "exp": NOW_S + 900,
        "jti": "0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00",
        "scope": "jobs:submit jobs:read",
        "tenants": ["acme"],
    }
    return {name: value for name, value in (right | changes).items() if value is not ...}


def header(**changes: Any) -> dict[str, Any]:
    right = {"alg": "Ed25519", "typ": "at+jwt", "kid": keys.signing_key().kid}
    return {name: value for name, value in (right | changes).items() if value is not ...}


def signed(head: dict[str, Any] | bytes, body: dict[str, Any] | bytes, key: OKPKey | None = None) -> str:
    """Sign whatever is given with the plane's own key (or `key`), as a forger inside would: no library looks."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, body)]
    signing_input = ".".join(b64(part) for part in parts)
    private = (key or keys.signing_key()).private_key
    assert isinstance(private, Ed25519PrivateKey)
    return f"{signing_input}.{b64(private.sign(signing_input.encode()))}"


def refused(token: str, *, unforeseen: bool = False) -> str:
    """Return why `token` is refused. A refusal by the net under all checks counts only where a test says so."""
    with pytest.raises(tokens.TokenError) as caught:
        tokens.verify(token, now=NOW)
    assert (str(caught.value) == "the token cannot be checked") is unforeseen
    return str(caught.value)


def test_a_token_issued_here_is_believed_here() -> None:
    token = tokens.issue(subject="data-acquisition", tenants=["acme"], scopes=["jobs:submit", "jobs:read"], now=NOW)
    principal = tokens.verify(token, now=NOW)
    assert principal.subject == "data-acquisition"
    assert principal.issuer == "operations"
    assert principal.scopes == {"jobs:submit", "jobs:read"}
    assert principal.tenants == frozenset({"acme"})
    assert principal.only_tenant == "acme"
    assert principal.expires_at == NOW + timedelta(seconds=900)
    assert principal.is_authenticated
    assert principal.may_act_for("acme")
    assert not principal.may_act_for("globex")


def test_a_token_reads_as_the_contract_says() -> None:
    token = tokens.issue(subject="m", tenants=["*"], scopes=["jobs:read"], now=NOW, ttl_s=60)
    head, body = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    assert head == {"alg": "Ed25519", "typ": "at+jwt", "kid": keys.signing_key().kid}
    assert body.keys() == {"iss", "aud", "sub", "exp", "iat", "jti", "scope", "tenants"}
    assert body["aud"] == "operations"
    assert body["exp"] - body["iat"] == 60
    assert body["tenants"] == ["*"]


def test_the_forger_of_this_file_can_make_a_good_token() -> None:
    assert tokens.verify(signed(header(), claims()), now=NOW).subject == "data-acquisition"
    assert tokens.verify(signed(header(), claims(aud=["operations", "x"], tenants=["*"])), now=NOW).tenants is ALL


ELSEWHERE = OKPKey.generate_key("Ed25519", auto_kid=True)

HEADERS = {
    "none": {"alg": "none"},
    "None": {"alg": "None"},
    "EdDSA, the polymorphic name": {"alg": "EdDSA"},
    "RS256": {"alg": "RS256"},
    "no alg": {"alg": ...},
    "alg of another type": {"alg": ["Ed25519"]},
    "typ JWT": {"typ": "JWT"},
    "typ in capitals": {"typ": "AT+JWT"},
    "typ with its prefix": {"typ": "application/at+jwt"},
    "no typ": {"typ": ...},
    "no kid": {"kid": ...},
    "empty kid": {"kid": ""},
    "unknown kid": {"kid": "someone-else"},
    "kid of another type": {"kid": {"a": 1}},
    "kid as a path": {"kid": "../../etc/passwd"},
    "jku": {"jku": "https://attacker.example/jwks"},
    "x5u": {"x5u": "https://attacker.example/cert"},
    "jwk": {"jwk": ELSEWHERE.as_dict(private=False)},
    "crit": {"crit": ["exp"]},
    "unknown crit": {"crit": ["x"], "x": 1},
    "b64": {"b64": False, "crit": ["b64"]},
    "zip": {"zip": "DEF"},
    "anything else": {"cty": "JWT"},
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in HEADERS.items()])
def test_a_header_that_differs_is_refused_though_signed_with_our_key(change: dict[str, Any]) -> None:
    refused(signed(header(**change), claims()))


CLAIMS = {
    "no iss": {"iss": ...},
    "a stranger's iss": {"iss": "https://attacker.example"},
    "iss of another type": {"iss": ["operations"]},
    "no aud": {"aud": ...},
    "another aud": {"aud": "governance"},
    "other auds": {"aud": ["governance", "subscription"]},
    "aud of another type": {"aud": {"operations": True}},
    "aud with a number": {"aud": ["operations", 1]},
    "aud that begins right": {"aud": "operations.example"},
    "no exp": {"exp": ...},
    "string exp": {"exp": str(NOW_S + 900)},
    "float exp": {"exp": NOW_S + 899.5},
    "true exp": {"exp": True},
    "null exp": {"exp": None},
    "exp now": {"iat": NOW_S - 60, "exp": NOW_S},
    "expired": {"iat": NOW_S - 1000, "exp": NOW_S - 100},
    "negative exp": {"exp": -1},
    "exp too far": {"exp": NOW_S + 901},
    "exp at the end of time": {"exp": 2**63 - 1},
    "exp beyond 64 bits": {"exp": 2**80},
    "no iat": {"iat": ...},
    "string iat": {"iat": str(NOW_S)},
    "true iat": {"iat": True},
    "iat in the future": {"iat": NOW_S + 61, "exp": NOW_S + 500},
    "iat after exp": {"iat": NOW_S + 50, "exp": NOW_S + 40},
    "nbf in the future": {"nbf": NOW_S + 61},
    "string nbf": {"nbf": "0"},
    "no jti": {"jti": ...},
    "empty jti": {"jti": ""},
    "long jti": {"jti": "x" * 65},
    "jti with a line break": {"jti": "a\r\nb"},
    "jti of another type": {"jti": 7},
    "no sub": {"sub": ...},
    "empty sub": {"sub": ""},
    "long sub": {"sub": "s" * 129},
    "sub with a line break": {"sub": "a\nb"},
    "sub with NUL": {"sub": "a\0b"},
    "sub of another type": {"sub": {"name": "x"}},
    "no scope": {"scope": ...},
    "scope as a list": {"scope": ["jobs:read"]},
    "scope with two spaces": {"scope": "jobs:read  jobs:submit"},
    "scope with a tab": {"scope": "jobs:read\tjobs:submit"},
    "no tenants": {"tenants": ...},
    "no tenant": {"tenants": []},
    "tenants as a word": {"tenants": "acme"},
    "tenants as the star alone": {"tenants": "*"},
    "star among others": {"tenants": ["*", "acme"]},
    "tenant that is no slug": {"tenants": ["Acme Corp"]},
    "tenant with a line break": {"tenants": ["acme\n"]},
    "tenant of another type": {"tenants": [1]},
    "null tenant": {"tenants": [None]},
    "too many tenants": {"tenants": [f"t{n}" for n in range(257)]},
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in CLAIMS.items()])
def test_claims_that_differ_are_refused_though_signed_with_our_key(change: dict[str, Any]) -> None:
    refused(signed(header(), claims(**change)))


def test_a_clock_may_differ_by_a_minute() -> None:
    for change in ({"iat": NOW_S + 60, "exp": NOW_S + 900}, {"nbf": NOW_S + 60}):
        assert tokens.verify(signed(header(), claims(**change)), now=NOW).subject == "data-acquisition"


RIGHT = json.dumps(claims()).encode()

DOCUMENTS = {
    "duplicate sub": RIGHT[:-1] + b', "sub": "operator"}',
    "duplicate tenants by escape": RIGHT[:-1] + rb', "\u0074enants": ["*"]}',
    "duplicate exp": b'{"exp": 1,' + RIGHT[1:],
    "deep": RIGHT[:-1] + b', "x": ' + b"[" * 2500 + b"]" * 2500 + b"}",
    "NaN": RIGHT[:-1] + b', "x": NaN}',
    "a huge integer": RIGHT[:-1] + b', "x": ' + b"9" * 4000 + b"}",
    "an array": b"[" + RIGHT + b"]",
    "a string": b'"operations"',
    "null": b"null",
    "nothing": b" ",
    "not UTF-8": RIGHT[:-1] + b', "x": "\xff"}',
    "UTF-16": RIGHT.decode().encode("utf-16"),
    "a lone surrogate": RIGHT[:-1] + rb', "x": "\ud800"}',
    "many members": json.dumps(claims(**{f"x{n}": 0 for n in range(100)})).encode(),
    "trailing bytes": RIGHT + b"{}",
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in DOCUMENTS.items()])
def test_a_document_two_readers_could_read_differently_is_refused(body: bytes) -> None:
    refused(signed(header(), body))


def test_a_header_said_twice_is_refused() -> None:
    twice = json.dumps(header()).encode()[:-1] + b', "alg": "Ed25519"}'
    refused(signed(twice, claims()))
    refused(signed(b"[" * 3000 + b"]" * 3000, claims()))


def test_five_megabytes_are_refused_before_anything_is_decoded() -> None:
    assert "longer than 8192" in refused(signed(header(), claims(x="x" * 5_000_000)))


def test_hs256_with_our_public_key_is_refused() -> None:
    public = keys.signing_key().as_dict(private=False)
    head, body = b64(json.dumps(header(alg="HS256")).encode()), b64(json.dumps(claims()).encode())
    for secret in (str(public["x"]).encode(), json.dumps(public).encode(), keys.signing_key().as_pem(private=False)):
        mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        refused(f"{head}.{body}.{b64(mac)}")


def test_a_signature_that_is_not_ours_is_refused() -> None:
    token = signed(header(), claims())
    head, body, signature = token.split(".")
    refused(signed(header(), claims(), key=ELSEWHERE))
    refused(signed(header(kid=ELSEWHERE.kid), claims(), key=ELSEWHERE))
    refused(f"{head}.{b64(json.dumps(claims(sub='operator')).encode())}.{signature}")
    refused(f"{head}.{body}.{b64(bytes(64))}")
    refused(f"{head}.{body}.{b64(b'short')}")
    refused(f"{head}.{body}.")
    refused(f"{head}.{body}")


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b.c", "a.b.c.d.e", "é.é.é", "\0.\0.\0", "null", "{}", "=.=.=", "e30.e30.e30", " . . "],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    refused(token)


def test_a_token_with_padding_or_another_alphabet_is_refused() -> None:
    head, body, signature = signed(header(), claims()).split(".")
    refused(f"{head}=.{body}.{signature}")
    refused(f"{head}.{body}.{signature}==")
    refused(f"{head}.{body}\n.{signature}")
    refused(f"{head}.{body}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}")


@given(st.text(max_size=300))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(tokens.TokenError):
        tokens.verify(text, now=NOW)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=6))
def test_a_token_with_any_bit_flipped_is_refused(position: int, bit: int) -> None:
    token = bytearray(signed(header(), claims()).encode())
    token[position % len(token)] ^= 1 << bit
    with pytest.raises(tokens.TokenError):
        tokens.verify(token.decode("ascii"), now=NOW)


def test_without_keys_nobody_is_believed(settings: Settings, tmp_path: Path) -> None:
    token = signed(header(), claims())
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=tmp_path / "elsewhere")
    refused(token, unforeseen=True)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"subject": ""}, "subject"),
        ({"subject": "a b"}, "subject"),
        ({"subject": "a\nb"}, "subject"),
        ({"tenants": []}, "tenant"),
        ({"tenants": ["*", "acme"]}, "tenant"),
        ({"tenants": ["ACME"]}, "tenant"),
        ({"tenants": [f"t{n}" for n in range(300)]}, "tenant"),
        ({"scopes": []}, "scope"),
        ({"scopes": ["jobs:everything"]}, "scope"),
        ({"scopes": ["jobs:read jobs:submit"]}, "scope"),
        ({"ttl_s": 0}, "ttl"),
        ({"ttl_s": 901}, "ttl"),
    ],
)
def test_what_would_be_refused_is_not_issued(asked: dict[str, Any], what: str) -> None:
    right: dict[str, Any] = {"subject": "m", "tenants": ["acme"], "scopes": ["jobs:read"], "ttl_s": 900}
    with pytest.raises(tokens.BadTokenRequestError) as caught:
        tokens.issue(**(right | asked), now=NOW)
    assert caught.value.what == what


def test_a_token_for_another_module_carries_that_modules_scopes_and_is_not_ours() -> None:
    token = tokens.issue(subject="operations", tenants=["acme"], scopes=["decide"], audience="governance", now=NOW)
    assert refused(token) == "the token is meant for someone else"


def test_every_scope_of_the_contract_can_be_issued() -> None:
    token = tokens.issue(subject="m", tenants=["acme"], scopes=sorted(SCOPES), now=NOW)
    assert tokens.verify(token, now=NOW).scopes == SCOPES
