"""Measures, self-distrust, canaries, remedies: the pure decisions beside the machine itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.health import canary, remedies, trust, windows
from apps.health.canary import Flight, Word
from apps.health.remedies import Outcome, Rule, Verdict
from apps.health.trust import Ears
from apps.health.windows import Limits, Window

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def histogram(*latencies_ms: float) -> tuple[int, ...]:
    counts = [0] * windows.BUCKETS
    for each in latencies_ms:
        counts[windows.bucket(each)] += 1
    return tuple(counts)


class TestMeasures:
    """Rates with their denominators, percentiles to a bucket's precision."""

    @given(st.lists(st.floats(0, 10**6), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
    def test_a_percentile_lies_within_its_bucket(self, latencies: list[float], share: float) -> None:
        found = windows.percentile(histogram(*latencies), share=share)
        exact = sorted(latencies)[max(0, -(-int(share * len(latencies) * 1000) // 1000) - 1)]
        assert found is not None
        index = windows.bucket(exact)
        low = 0 if index == 0 else windows.upper_ms(index - 1) - 0.1
        assert low <= found <= windows.upper_ms(index) * windows.GROWTH + 0.1

    def test_of_nothing_there_is_no_rate_and_no_percentile(self) -> None:
        assert Window().error_rate is None
        assert windows.percentile((), share=0.5) is None

    def test_windows_add_up(self) -> None:
        whole = windows.together([Window(10, 1, histogram(5)), Window(30, 3, histogram(5, 900)), Window(2, 0, ())])
        assert (whole.checks, whole.errors, sum(whole.latencies)) == (42, 4, 3)
        assert whole.error_rate == pytest.approx(4 / 42)

    def test_bad_measures_are_named_and_few_are_not_judged(self) -> None:
        limits = Limits(error_rate=0.1, latency_ms=100)
        assert windows.impairment(Window(100, 11), limits=limits) == "error_rate"
        assert windows.impairment(Window(100, 10), limits=limits) is None
        assert windows.impairment(Window(windows.FEWEST - 1, 4), limits=limits) is None
        assert windows.impairment(Window(10, 0, histogram(*[500] * 10)), limits=limits) == "latency"
        assert windows.impairment(Window(10, 0, histogram(*[50] * 10)), limits=limits) is None
        assert windows.impairment(Window(100, 100, histogram(*[500] * 10)), limits=Limits()) is None


class TestSelfDistrust:
    """Many silences at once are our own."""

    @pytest.mark.parametrize(
        ("ears", "why"),
        [
            (Ears(1.0, (0, 12), (0, 40)), None),
            (Ears(None, (0, 0), (0, 0)), None),
            (Ears(trust.AWAY_S + 1, (0, 12), (0, 40)), "watcher_was_away"),
            (Ears(1.0, (3, 12), (0, 40)), None),  # the workers of one host
            (Ears(1.0, (9, 12), (0, 40)), "processes_late_together"),
            (Ears(1.0, (2, 2), (0, 0)), None),  # too few to tell
            (Ears(1.0, (0, 12), (5, 40)), None),
            (Ears(1.0, (0, 12), (30, 40)), "reporters_late_together"),
            (Ears(1.0, (0, 12), (30, 40), tenants=(1, 2)), None),  # one tenant's, and others are heard
            (Ears(1.0, (0, 12), (30, 40), tenants=(2, 3)), "reporters_late_together"),
            (Ears(1.0, (0, 12), (1, 40), door_open=False), "door_shut"),
            (Ears(1.0, (0, 12), (0, 40), door_open=False), None),
        ],
    )
    def test_trouble_is_named(self, ears: Ears, why: str | None) -> None:
        assert trust.trouble(ears) == why

    def test_trust_comes_back_after_a_while_of_quiet(self) -> None:
        assert not trust.settled(quiet_s=trust.SETTLE_S - 0.1)
        assert trust.settled(quiet_s=trust.SETTLE_S)


class TestCanaries:
    """What a canary's end says of a queue."""

    @pytest.mark.parametrize(
        ("flight", "word"),
        [
            (Flight(0.1, True, True, 0, None), Word.ANSWERED),
            (Flight(99, None, True, 0, 4), Word.ANSWERED),
            (Flight(1, False, False, 0, None), Word.UNSENT),
            (Flight(canary.PATIENCE_S - 1, True, False, 0, 4), Word.WAITING),
            (Flight(canary.PATIENCE_S, True, False, 0, 4), Word.STALLED),
            (Flight(canary.PATIENCE_S, True, False, 0, None), Word.STALLED),
            (Flight(canary.PATIENCE_S, True, False, 0, 0), Word.BUSY),  # every process is at long work
            (Flight(canary.PATIENCE_S, True, False, 3, 4), Word.BUSY),  # jobs were begun meanwhile: it consumes
        ],
    )
    def test_each_end_has_its_word(self, flight: Flight, word: Word) -> None:
        assert canary.judge(flight) is word


class TestRemedies:
    """When a recovery begins, and whether it helped."""

    RULE = Rule(
        pattern="operations/worker-*",
        statuses=["down"],
        reasons=["lost"],
        after_s=5,
        cooldown_s=60,
        budget_per_hour=3,
    )

    def test_a_pattern_names_components(self) -> None:
        assert self.RULE.covers(module="operations", component="worker-default")
        assert not self.RULE.covers(module="operations", component="relay")
        assert not self.RULE.covers(module="acme", component="worker-default")

    @pytest.mark.parametrize(
        ("change", "holds"),
        [
            ({}, True),
            ({"status": "up"}, False),
            ({"reason": "timeout"}, False),
            ({"muted": True}, False),
            ({"since": T0 + timedelta(seconds=6)}, False),
        ],
    )
    def test_a_condition_holds_wholly_or_not(self, change: dict[str, object], holds: bool) -> None:
        facts = {"status": "down", "reason": "lost", "since": T0, "muted": False, **change}
        assert self.RULE.holds(**facts, now=T0 + timedelta(seconds=10)) is holds  # type: ignore[arg-type]

    def test_after_the_cooldown_comes_the_next_and_after_the_budget_a_persons_turn(self) -> None:
        def ago(*minutes: float) -> list[datetime]:
            return [T0 - timedelta(minutes=each) for each in minutes]

        assert remedies.verdict(self.RULE, begun=[], now=T0) is Verdict.ACT
        assert remedies.verdict(self.RULE, begun=ago(0.5), now=T0) is Verdict.COOLING
        assert remedies.verdict(self.RULE, begun=ago(30, 2), now=T0) is Verdict.ACT
        assert remedies.verdict(self.RULE, begun=ago(30, 20, 2), now=T0) is Verdict.EXHAUSTED
        assert remedies.verdict(self.RULE, begun=ago(90, 61, 2), now=T0) is Verdict.ACT

    @pytest.mark.parametrize(
        ("status", "over", "trusted", "outcome"),
        [
            ("up", False, True, Outcome.HELPED),
            ("up", True, False, Outcome.HELPED),
            ("down", False, True, Outcome.RUNNING),
            ("down", True, True, Outcome.DID_NOT_HELP),
            ("unknown", True, False, Outcome.UNKNOWN),
        ],
    )
    def test_its_proof_is_how_the_component_stands(
        self, status: str, over: bool, trusted: bool, outcome: Outcome
    ) -> None:
        assert remedies.outcome(status=status, patience_over=over, trusted=trusted) is outcome
