"""Routes, silences and who may carry what, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.notifications import deciding
from apps.notifications.lifecycle import Classification, Reason, State
from apps.notifications.matching import BadMatcherError, parsed, unmet
from apps.notifications.routing import (
    Destination,
    Node,
    Rules,
    Silenced,
    Trace,
    facts_of,
    hits,
    out_of_band,
    shares_provider,
)

INBOX, MAIL, PAGER, CHAT = (UUID(int=number) for number in range(1, 5))
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Row:
    """A notification."""

    severity: str = "error"
    category: str = "alert"
    classification: str = "internal"
    source: str = "health"
    component: str | None = "database"
    group: str | None = None
    kind: str | None = None
    tenant_id: str | None = "acme"
    dedup_key: str = "key"
    raised_by: str = "tests"
    audience: tuple[str, ...] = ("operators", "tenant")
    inhibited_by: str | None = None


def channel(channel_id: UUID, name: str, **more: Any) -> Destination:
    return Destination(channel_id=channel_id, name=name, **{"kind": "email", "provider": name, **more})


CHANNELS = {
    INBOX: channel(INBOX, "inbox", kind="inbox", passive=True),
    MAIL: channel(MAIL, "mail", fallback=PAGER),
    PAGER: channel(PAGER, "pager"),
    CHAT: channel(CHAT, "chat"),
}


def route(name: str, *matchers: str, **more: Any) -> Node:
    return Node(name=name, matchers=parsed(matchers), **more)


def rules(*children: Node, **more: Any) -> Rules:
    return Rules(root=Node(name="root", channel=INBOX, children=children), **{"channels": CHANNELS, **more})


def paged(known: Rules, *, tried: list[UUID], tenant_id: str | None = "acme") -> Destination | None:
    return out_of_band(known, tried=tried, tenant_id=tenant_id, region=None, classification=Classification.INTERNAL)


def told(row: Row, known: Rules, *, region: str | None = None, memory: Any = None) -> list[tuple[str, str, str]]:
    made = deciding.plan(row, rules=known, memory=memory or {}, region=region, now=NOW)
    return [(each.channel.name, str(each.reason), str(each.state)) for each in made.deliveries]


class TestMatchers:
    """As Alertmanager's."""

    @pytest.mark.parametrize(
        ("text", "holds"),
        [
            ("severity=error", True),
            ("severity!=error", False),
            ("component=~data.*", True),
            ("component=~data", False),
            ("component!~data", True),
            ("audience=tenant", True),
            ("audience!=tenant", False),
            ("group=", True),
            ("tenant=~acme|globex", True),
        ],
    )
    def test_it_asks_the_whole_value_and_any_of_several(self, text: str, holds: bool) -> None:
        facts = {
            "severity": ["error"],
            "component": ["database"],
            "audience": ["operators", "tenant"],
            "tenant": ["acme"],
        }
        assert (unmet(parsed([text]), facts) is None) is holds

    @pytest.mark.parametrize(
        "text", ["severity", "color=red", "component=~(", "component=~(?=x)", r"component=~(a)\1", "=x"]
    )
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(BadMatcherError):
            parsed([text])

    def test_a_pattern_that_backtracks_elsewhere_costs_nothing_here(self) -> None:
        assert unmet(parsed(["component=~(a+)+b"]), {"component": ["a" * 2000]}) is not None


class TestTree:
    """Who is asked, in which order."""

    def test_where_nothing_matches_the_root_takes_it(self) -> None:
        assert told(Row(), rules(route("mail", "severity=critical", channel=MAIL))) == [("inbox", "first", "sent")]

    def test_the_first_child_that_matches_takes_it_unless_it_goes_on(self) -> None:
        first, second = route("a", "source=health", channel=MAIL), route("b", channel=CHAT)
        assert [name for name, *_ in told(Row(), rules(first, second))] == ["mail"]
        assert [name for name, *_ in told(Row(), rules(replace(first, goes_on=True), second))] == ["mail", "chat"]

    def test_what_a_child_does_not_say_it_has_from_above(self) -> None:
        child = route("child", "component=database", by=("component",))
        parent = route("parent", "source=health", channel=MAIL, wait_s=30, by=("tenant",), children=(child,))
        (hit,) = hits(rules(parent).root, facts_of(Row(), region=None), trace=Trace())
        assert (hit.route, hit.channel, hit.grouping.wait_s, hit.grouping.by) == ("child", MAIL, 30, ("component",))

    def test_two_routes_to_one_channel_tell_once(self) -> None:
        both = (route("a", channel=MAIL, goes_on=True), route("b", channel=MAIL))
        assert [name for name, *_ in told(Row(), rules(*both))] == ["mail"]

    def test_every_step_leaves_its_reason(self) -> None:
        made = deciding.plan(
            Row(), rules=rules(route("a", "severity=critical", channel=MAIL)), memory={}, region=None, now=NOW
        )
        assert made.why[0] == {
            "step": "route",
            "route": "a",
            "matched": False,
            "because": "severity=critical does not hold: it is 'error'",
        }

    @given(st.lists(st.tuples(st.sampled_from(["severity=error", "source=jobs", "tenant=acme"]), st.booleans())))
    def test_whatever_the_tree_somebody_is_told(self, given_routes: list[tuple[str, bool]]) -> None:
        children = [
            route(f"r{place}", matcher, channel=MAIL, goes_on=on) for place, (matcher, on) in enumerate(given_routes)
        ]
        assert told(Row(), rules(*children))


class TestRefusals:
    """What is told to nobody, and what may not go by a channel."""

    def test_a_silence_suppresses_and_says_whose_it_is(self) -> None:
        silence = Silenced("s1", parsed(["source=health"]), "ada", "maintenance")
        made = deciding.plan(Row(), rules=rules(silences=(silence,)), memory={}, region=None, now=NOW)
        assert (made.suppressed, made.deliveries) == ("silenced", ())
        assert made.why == [{"step": "silenced", "silence": "s1", "author": "ada", "comment": "maintenance"}]

    def test_what_is_inhibited_is_told_by_what_is_behind_it(self) -> None:
        made = deciding.plan(Row(inhibited_by="health/database"), rules=rules(), memory={}, region=None, now=NOW)
        assert (made.suppressed, made.deliveries) == ("inhibited", ())

    def test_a_channel_outside_the_tenants_region_is_refused_and_its_fallback_asked(self) -> None:
        channels = {**CHANNELS, MAIL: replace(CHANNELS[MAIL], regions=("us",))}
        known = rules(route("mail", channel=MAIL), channels=channels)
        assert told(Row(), known, region="eu") == [("mail", "first", "skipped"), ("pager", "fallback", "queued")]
        made = deciding.plan(Row(), rules=known, memory={}, region="eu", now=NOW)
        assert made.deliveries[0].note == "residency: it must stay in eu, and the channel is in us"
        assert [name for name, *_ in told(Row(), known, region="us")] == ["mail"]

    def test_a_fallback_outside_the_region_is_never_asked(self) -> None:
        channels = {
            **CHANNELS,
            MAIL: replace(CHANNELS[MAIL], regions=("us",)),
            PAGER: replace(CHANNELS[PAGER], regions=("us",), fallback=CHAT),
        }
        known = rules(route("mail", channel=MAIL), channels=channels)
        assert [name for name, *_ in told(Row(), known, region="eu")] == ["mail", "chat"]

    def test_nothing_goes_by_a_channel_that_is_not_cleared_for_it(self) -> None:
        channels = {**CHANNELS, CHAT: replace(CHANNELS[CHAT], clearance=Classification.INTERNAL)}
        known = rules(route("chat", channel=CHAT), channels=channels)
        assert told(Row(classification="restricted"), known) == [("chat", "first", "skipped")]
        assert told(Row(classification="internal"), known) == [("chat", "first", "queued")]


class TestCounting:
    """A list that waits to be looked at tells nobody where somebody should have been woken."""

    def test_the_inbox_counts_alone_and_not_beside_mail(self) -> None:
        (alone,) = deciding.plan(Row(), rules=rules(), memory={}, region=None, now=NOW).deliveries
        assert alone.counts
        both = rules(route("inbox", channel=INBOX, goes_on=True), route("mail", channel=MAIL))
        made = deciding.plan(Row(), rules=both, memory={}, region=None, now=NOW).deliveries
        assert [(each.channel.name, each.counts) for each in made] == [("inbox", False), ("mail", True)]


class TestGroups:
    """What is told together."""

    def test_tenants_are_never_told_together(self) -> None:
        known = rules(route("mail", channel=MAIL, by=("source",)))
        keys = {
            deciding.plan(Row(tenant_id=tenant), rules=known, memory={}, region=None, now=NOW).deliveries[0].group_key
            for tenant in ("acme", "globex", None)
        }
        assert len(keys) == 3

    def test_who_comes_later_joins_and_waits_unless_it_is_critical(self) -> None:
        known = rules(route("mail", channel=MAIL, wait_s=30, interval_s=300))
        (first,) = deciding.plan(Row(), rules=known, memory={}, region=None, now=NOW).deliveries
        assert (first.due_in_s, first.reason) == (30.0, Reason.FIRST)
        memory = {(MAIL, first.group_key): NOW - timedelta(seconds=100)}
        (later,) = deciding.plan(Row(), rules=known, memory=memory, region=None, now=NOW).deliveries
        assert (later.due_in_s, later.reason) == (200.0, Reason.NEW_ALERTS)
        worse = Row(severity="critical")
        (now,) = deciding.plan(worse, rules=known, memory=memory, region=None, now=NOW).deliveries
        assert now.due_in_s == 0.0
        coming = {(MAIL, first.group_key): NOW + timedelta(seconds=12)}
        (joins,) = deciding.plan(Row(), rules=known, memory=coming, region=None, now=NOW).deliveries
        assert joins.due_in_s == 12.0

    def test_what_grew_worse_says_so(self) -> None:
        known = rules(route("mail", channel=MAIL))
        made = deciding.plan(Row(), rules=known, memory={}, region=None, now=NOW, escalated=True)
        assert made.deliveries[0].reason is Reason.ESCALATION


class TestFallbacks:
    """On the clock."""

    def test_a_channel_with_a_fallback_is_given_its_time_and_no_more(self) -> None:
        (made,) = deciding.plan(
            Row(), rules=rules(route("m", channel=MAIL)), memory={}, region=None, now=NOW
        ).deliveries
        assert made.hedge_in_s == 5.0
        channels = {**CHANNELS, MAIL: replace(CHANNELS[MAIL], left_alone=True)}
        known = rules(route("m", channel=MAIL), channels=channels)
        (made,) = deciding.plan(Row(), rules=known, memory={}, region=None, now=NOW).deliveries
        assert (made.state, made.hedge_in_s) == (State.QUEUED, 0.0)

    def test_one_without_has_no_clock(self) -> None:
        (made,) = deciding.plan(
            Row(), rules=rules(route("c", channel=CHAT)), memory={}, region=None, now=NOW
        ).deliveries
        assert made.hedge_in_s is None

    def test_those_of_one_provider_fail_together(self) -> None:
        assert shares_provider(CHANNELS[MAIL], replace(CHANNELS[PAGER], provider="mail"))
        assert not shares_provider(CHANNELS[MAIL], CHANNELS[PAGER])

    def test_out_of_band_is_another_provider_if_there_is_one(self) -> None:
        channels = {**CHANNELS, CHAT: replace(CHANNELS[CHAT], provider="mail", name="a-chat")}
        found = paged(rules(channels=channels), tried=[MAIL])
        assert found is not None
        assert found.name == "pager"
        assert paged(rules(), tried=[MAIL, PAGER, CHAT]) is None, "the inbox wakes nobody"

    @pytest.mark.parametrize("matcher", ["tenant=globex", "tenant!=acme", "tenant=~glob.*"])
    def test_out_of_band_is_no_channel_of_another_tenants_nor_its_fallback(self, matcher: str) -> None:
        theirs = route("theirs", matcher, channel=MAIL, children=(route("below", "severity=critical", channel=CHAT),))
        assert paged(rules(theirs), tried=[]) is None
        assert paged(rules(theirs), tried=[], tenant_id=None) is None or matcher == "tenant!=acme"
        ours = route("ours", "tenant=acme", channel=PAGER)
        found = paged(rules(theirs, ours), tried=[])
        assert found is not None
        assert found.name == "pager", "to which a route of its own leads as well"
