"""What the JSON door lets through and what it names on the way out: pure, no request."""

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.strict_json import BadJSONError, Limits, loads

DEEP = 100_000
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_reads_whatever_python_writes(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_answers_any_bytes_with_a_value_or_with_its_own_error(data: bytes) -> None:
    with contextlib.suppress(BadJSONError):
        loads(data)


@given(st.text(alphabet='[]{}",:\\u0123456789abcdef \n', max_size=200))
def test_answers_any_text_of_json_characters_with_a_value_or_with_its_own_error(text: str) -> None:
    with contextlib.suppress(BadJSONError):
        loads(text.encode())


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        pytest.param(b'{"a": 1, "a": 2}', "a", "said twice", id="duplicate name"),
        pytest.param(
            b'{"p": {"x": [{}, {"b": 1, "b": 1}]}}', "p.x[1].b", "said twice", id="duplicate name deep inside"
        ),
        pytest.param(rb'{"a": 1, "\u0061": 2}', "a", "said twice", id="duplicate name by escape"),
        pytest.param(b'{"a": NaN}', "a", "NaN is not JSON", id="NaN"),
        pytest.param(b'{"a": [Infinity]}', "a[0]", "Infinity is not JSON", id="Infinity"),
        pytest.param(b'{"a": -Infinity}', "a", "-Infinity is not JSON", id="minus Infinity"),
        pytest.param(b'{"a": 1e400}', "a", "beyond what a double", id="a float that overflows"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "a", "beyond 64 bits", id="5,000 digits"),
        pytest.param(b'{"a": 1.' + b"9" * 5000 + b"}", "a", "more than 64 characters", id="5,000 decimals"),
        pytest.param(b'{"a": 9223372036854775808}', "a", "beyond 64 bits", id="one beyond 64 bits"),
        pytest.param(b'{"a": -9223372036854775809}', "a", "beyond 64 bits", id="one below 64 bits"),
        pytest.param(rb'{"a": "\ud800"}', "a", "surrogate", id="lone high surrogate"),
        pytest.param(rb'{"a": ["\udc00x"]}', "a[0]", "surrogate", id="lone low surrogate"),
        pytest.param(rb'{"\ud800": 1}', r'["\ud800"]', "surrogate", id="lone surrogate in a name"),
        pytest.param(rb'{"a": "x\u0000y"}', "a", "NUL", id="NUL"),
        pytest.param(rb'{"\u0000": 1}', r'["\u0000"]', "NUL", id="NUL in a name"),
        pytest.param(b'{"a": "\x00"}', "body", "not JSON", id="raw NUL"),
        pytest.param(b'\xff\xfe{"a": 1}', "body", "not UTF-8", id="not UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), "body", "not UTF-8", id="UTF-16"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', "body", "not JSON", id="byte order mark"),
        pytest.param(b'{"a": "\xed\xa0\x80"}', "body", "not UTF-8", id="a surrogate in UTF-8's clothes"),
        pytest.param(b"", "body", "not JSON", id="nothing"),
        pytest.param(b'{"a": 1} {}', "body", "not JSON", id="two documents"),
        pytest.param(b"{'a': 1}", "body", "not JSON", id="Python"),
        pytest.param(b"[" * DEEP, "body", "nested deeper than 32", id="100,000 open arrays"),
        pytest.param(b"[" * DEEP + b"]" * DEEP, "body", "nested deeper than 32", id="100,000 nested arrays"),
        pytest.param(b'{"a":' * DEEP + b"1" + b"}" * DEEP, "body", "nested deeper than 32", id="100,000 objects"),
        pytest.param(b'["\\\\",' + b"[" * 40 + b"]" * 40 + b"]", "body", "nested deeper", id="deep after a backslash"),
        pytest.param(
            json.dumps({"p": {f"f{n}": n for n in range(10_000)}}).encode(),
            "p",
            "more than 1000 members",
            id="10,000 fields",
        ),
        pytest.param(b"[" + b"0," * 150_000 + b"0]", "body", "more than 100000 values", id="150,000 values"),
        pytest.param(b"[" + b'"",' * 1_000_000, "body", "more than 100000 values", id="a million empty strings"),
    ],
)
def test_refuses_and_names_the_place(body: bytes, field: str, says: str) -> None:
    with pytest.raises(BadJSONError, match=says) as caught:
        loads(body)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 32 + b"]" * 32, id="32 levels"),
        pytest.param(json.dumps(["[" * 1000, "{\\" * 1000, '"[' * 1000, "\\"]).encode(), id="brackets inside strings"),
        pytest.param(b'{"a": 9223372036854775807, "b": -9223372036854775808}', id="the largest integers"),
        pytest.param(rb'{"a": "\ud83d\ude00"}', id="a surrogate pair"),
        pytest.param(json.dumps({f"f{n}": n for n in range(1000)}).encode(), id="1,000 members"),
        pytest.param(b' {"a": 1}\n', id="white space around"),
    ],
)
def test_accepts_what_is_within_its_bounds(body: bytes) -> None:
    assert loads(body) == json.loads(body)


def test_a_path_is_short_and_printable_whatever_the_names_are() -> None:
    name = "\r\nSet-Cookie: x" + "y" * 10_000
    with pytest.raises(BadJSONError) as caught:
        loads(json.dumps({name: {"n": [2**64]}}).encode())
    assert len(caught.value.field) <= 200
    assert caught.value.field.isprintable()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'"' + b"\\\\" * 500_000, id="backslashes without end"),
        pytest.param(b'{"a": "' + b'\\"' * 500_000 + b'"}', id="escaped quotes"),
        pytest.param(b"[" * 2**20, id="open brackets"),
        pytest.param(b"[]" * 2**19, id="closed brackets"),
        pytest.param(b'"a' * 2**19, id="strings without commas"),
        pytest.param(b"1" * 2**20, id="one long number"),
        pytest.param(b"-" * 2**20, id="minus signs"),
        pytest.param(b" " * 2**20, id="white space"),
    ],
)
def test_a_hostile_mebibyte_costs_no_more_than_a_plain_one(body: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(BadJSONError):
        loads(body)
    assert time.process_time() - started < 1


def test_bounds_are_the_callers_to_choose() -> None:
    with pytest.raises(BadJSONError, match="deeper than 2"):
        loads(b"[[[]]]", limits=Limits(depth=2))
    with pytest.raises(BadJSONError, match="more than 1 members"):
        loads(b'{"a": 1, "b": 2}', limits=Limits(members=1))
