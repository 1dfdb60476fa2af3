"""Params schemas: what is refused when a type is registered, and what a submission is told."""

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.jobs.pattern import BadPatternError, Pattern
from apps.jobs.schema import MAX_PARAMS_BYTES, BadSchemaError, ParamsSchema


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


SCHEMA = {
    **closed(
        source={"type": "string", "minLength": 1},
        mode={"enum": ["fast", "safe"]},
        day={"type": "string", "format": "date"},
        at={"type": "string", "format": "date-time"},
        link={"type": "string", "format": "uri"},
        count={"type": "integer", "minimum": 1, "maximum": 9},
        code={"type": "string", "pattern": "^[a-z]+$"},
        nested={"$ref": "#/$defs/nested"},
        map={"type": "object", "propertyNames": {"pattern": "^[a-z]$"}, "additionalProperties": {"type": "integer"}},
    ),
    "required": ["source"],
    "$defs": {"nested": closed(**{"a/b": {"type": ["integer", "null"]}})},
}


@pytest.mark.parametrize(
    ("params", "path", "message"),
    [
        ({}, "/source", "is required"),
        ({"source": ""}, "/source", "must be at least 1 characters long"),
        ({"source": "x", "mode": "slow"}, "/mode", 'must be one of: "fast", "safe"'),
        ({"source": "x", "day": "2024-02-30"}, "/day", "must be a date as 2024-05-31"),
        ({"source": "x", "at": "2024-02-03T00:00:00"}, "/at", "must be a time with its zone, as 2024-05-31T12:00:00Z"),
        ({"source": "x", "link": "no scheme"}, "/link", "must be a URI with its scheme"),
        ({"source": "x", "count": 0}, "/count", "must be at least 1"),
        ({"source": "x", "count": True}, "/count", "must be a whole number"),
        ({"source": "x", "count": 1.5}, "/count", "must be a whole number"),
        ({"source": "x", "code": "abc\n"}, "/code", "must be text that matches ^[a-z]+$"),
        ({"source": "x", "nested": {"a/b": "1"}}, "/nested/a~1b", "must be a whole number or null"),
        ({"source": "x", "map": {"AA": 1}}, "/map", "every field's name must be text that matches ^[a-z]$"),
        ([], "", "must be an object"),
    ],
)
def test_a_problem_names_its_field_and_says_what_would_be_right(params: object, path: str, message: str) -> None:
    (problem,) = ParamsSchema(SCHEMA).problems(params)
    assert (problem.path, problem.message) == (path, message)


def test_unknown_fields_are_refused_by_name_with_the_known_ones() -> None:
    (problem,) = ParamsSchema(closed(a={}, b={})).problems({"a": 1, "c": 2})
    assert problem.path == "/c"
    assert problem.message == "is not known here; known: a, b"


def test_several_problems_come_in_the_order_of_their_paths() -> None:
    problems = ParamsSchema(SCHEMA).problems({"zzz": 1, "count": 99, "mode": 3})
    assert [problem.path for problem in problems] == ["/count", "/mode", "/source", "/zzz"]


def test_good_params_have_no_problem() -> None:
    good = {"source": "x", "mode": "fast", "day": "2024-02-29", "at": "2024-02-03T00:00:00Z", "count": 9, "code": "abc"}
    assert ParamsSchema(SCHEMA).problems(good | {"nested": {"a/b": None}, "link": "s3://b/c", "map": {"a": 1}}) == []


def test_no_message_repeats_a_value() -> None:
    secret = "canary-7f3a"
    wrong = {"source": 1, "mode": secret, "day": secret, "count": secret, "code": secret, "nested": {"a/b": secret}}
    problems = ParamsSchema(SCHEMA).problems(wrong)
    assert len(problems) == 6
    assert secret not in repr(problems)


@pytest.mark.parametrize(
    "params", [{"source": "x" * MAX_PARAMS_BYTES}, {"source": float("nan")}, {"source": "\ud800"}, {"source": object()}]
)
def test_what_is_too_large_or_no_json_is_a_problem_not_a_crash(params: dict[str, Any]) -> None:
    (problem,) = ParamsSchema(SCHEMA).problems(params)
    assert problem.path == ""


def test_deep_params_are_a_problem_not_a_crash() -> None:
    schema = {**closed(a={"$ref": "#"})}
    deep: dict[str, Any] = {}
    for _ in range(1_500):
        deep = {"a": deep}
    (problem,) = ParamsSchema(schema).problems(deep)
    assert "deep" in problem.message


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({}, "its top must be"),
        ({"type": "object"}, "additionalProperties: false"),
        (closed(a={"type": "strnig"}), "strnig"),
        (closed(a={"$ref": "https://example.com/schema.json"}), "nothing is fetched"),
        (closed(a={"$ref": "https://json-schema.org/draft/2020-12/schema"}), "nothing is fetched"),
        (closed(a={"$ref": "file:///etc/passwd"}), "nothing is fetched"),
        (closed(a={"$ref": "#/$defs/gone"}), "leads nowhere"),
        ({**closed(), "allOf": [{"$ref": "#"}]}, "without end"),
        ({**closed(), "$id": "https://example.com/x"}, "$id is not allowed"),
        ({**closed(), "$schema": "http://json-schema.org/draft-07/schema#"}, "2020-12"),
        (closed(a={"$dynamicRef": "#x"}), "$dynamicRef is not allowed"),
        (closed(a={"patternProperties": {"^(a+)+$": {}}}), "patternProperties is not allowed"),
        (closed(a={"format": "hostname"}), "is not checked here"),
        (closed(a={"pattern": "("}), "pattern"),
        (closed(a={"pattern": r"(a)\1"}), "groupref"),
        (closed(a={"pattern": "^(?!x).*$"}), "assert_not"),
        (closed(a={"pattern": "(?i)abc"}), "inline flags"),
        (closed(a={"pattern": "((a{1,50}){1,50}){1,50}"}), "too large"),
        ({**closed(a={"default": object()})}, "must be JSON"),
        ({**closed(a={"type": "integer"}), "examples": [{"a": "x"}]}, "example 0"),
    ],
)
def test_a_bad_schema_is_refused_when_registered(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSchemaError, match=re.escape(said)):
        ParamsSchema(schema)


def test_a_property_may_be_called_like_a_keyword() -> None:
    schema = ParamsSchema(
        closed(format={"type": "string"}, pattern={"type": "string"}, **{"$ref": {"type": "integer"}})
    )
    assert schema.problems({"format": "csv", "pattern": "((", "$ref": 1}) == []


def test_the_schema_is_a_copy_nobody_can_change_behind_its_back() -> None:
    written = closed(a={"type": "integer"})
    schema = ParamsSchema(written)
    written["properties"]["a"]["type"] = "string"
    assert schema.problems({"a": 1}) == []


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(.*)*x$", "(x+x+)+y", "^([a-z]+.?)+$"])
def test_a_catastrophic_pattern_reads_each_character_once(pattern: str) -> None:
    schema = ParamsSchema(closed(a={"type": "string", "pattern": pattern}))
    began = time.process_time()
    assert schema.problems({"a": "a" * 2_000 + "!!"}) != []
    assert time.process_time() - began < 1  # Python's re takes seconds for 26 characters, and doubles with each


_atoms = st.sampled_from(["a", "b", "-", ".", "[ab]", "[^a]", r"\d", r"\w", r"\W", "[a-c1]", "é"])
_patterns = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])).map(
            lambda p: f"({p[0]}){p[1]}"
        ),
    ),
    max_leaves=5,
)


@given(
    pattern=st.tuples(st.sampled_from(["", "^"]), _patterns, st.sampled_from(["", "$"])).map("".join),
    text=st.text(alphabet="abc1-é ", max_size=7),
)
def test_patterns_mean_what_they_mean_to_python(pattern: str, text: str) -> None:
    assert Pattern(pattern).found_in(text) == (re.search(pattern, text, re.ASCII) is not None)


def test_an_end_is_the_very_end_and_digits_are_ascii() -> None:
    assert not Pattern("^[a-z]+$").found_in("abc\n")
    assert not Pattern(r"^\d+$").found_in("٣")
    with pytest.raises(BadPatternError, match="too large"):
        Pattern("a{1,5000}")
