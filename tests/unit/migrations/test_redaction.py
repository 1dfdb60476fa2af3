"""What names somebody else's target is taken out, wherever it stands; everything else stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.migrations.redaction import ANOTHERS, without

HIDDEN = frozenset({"globex", "acme-eu"})
NAMES = st.sampled_from(["globex", "acme-eu", "acme", "initech"])
TEXTS = st.one_of(
    st.text(max_size=20), NAMES, NAMES.map(lambda name: f"tenant_{name.replace('-', '_')}"), NAMES.map("at {}:".format)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (["acme", "globex", "acme-eu"], ["acme"]),
        ({"on": "tenant_globex"}, {"on": ANOTHERS}),
        ({"on": "tenant_acme_eu"}, {"on": ANOTHERS}),
        ({"on": "globex_crm"}, {"on": ANOTHERS}),
        ({"on": "tenant_acme"}, {"on": "tenant_acme"}),
        ({"why": "globex: a check failed"}, {"why": ANOTHERS}),
        ({"why": "GLOBEX failed"}, {"why": ANOTHERS}),
        ({"why": "globexia is another word"}, {"why": "globexia is another word"}),
        ({"globex": {"ok": True}, "acme": {"ok": True}}, {"acme": {"ok": True}}),
        ([{"target": "globex", "n": 1}, {"target": "acme", "n": 2}], [{"target": "acme", "n": 2}]),
        ([{"tenant": "acme-eu"}, {"key": 7}, 7, None, True, 0.5], [{"key": 7}, 7, None, True, 0.5]),
    ],
)
def test_names_go_from_lists_keys_identifiers_and_sentences(value: Any, left: Any) -> None:
    assert without(value, hidden=HIDDEN) == left


@given(JSON)
def test_whoever_sees_all_sees_it_as_it_is(value: Any) -> None:
    assert without(value, hidden=frozenset()) == value


@given(JSON)
def test_nothing_of_a_hidden_name_is_left_and_twice_is_as_once(value: Any) -> None:
    left = without(value, hidden=HIDDEN)
    assert [
        word
        for word in ("tenant_globex", "'globex'", "at globex:", "tenant_acme_eu", "'acme-eu'")
        if word in repr(left)
    ] == []
    assert without(left, hidden=HIDDEN) == left
