"""What follows an answer: for its delivery, and for the webhook."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.webhooks import filters, lifecycle
from apps.webhooks.lifecycle import Answer, Next, Reason, Standing, State

NOW = datetime(2026, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
SVIX_S = [5, 300, 1800, 7200, 18_000, 36_000, 36_000]


def test_the_schedule_is_svixs() -> None:
    pauses = [lifecycle.after(Answer(500), tries=tries, dice=0) for tries in range(1, 9)]
    assert pauses == [*(Next(State.WAITING, pause) for pause in SVIX_S), Next(State.FAILED)]


@pytest.mark.parametrize("tries", range(1, 8))
def test_tries_that_failed_together_are_spread_and_never_early(tries: int) -> None:
    early, late = (lifecycle.after(Answer(500), tries=tries, dice=dice).pause_s or 0 for dice in (0, 1))
    assert early == SVIX_S[tries - 1]
    assert late == pytest.approx(early * 1.2)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    assert lifecycle.after(Answer(status), tries=8, dice=0) == Next(State.DELIVERED)


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 304, 307, 400, 401, 404, 500, 599])
def test_nothing_else_is(status: int | None) -> None:
    assert lifecycle.after(Answer(status), tries=1, dice=0).state is State.WAITING


@pytest.mark.parametrize(
    ("status", "asked", "pause_s"), [(429, 60, 60), (503, 60, 60), (503, 1, 5), (500, 60, 5), (404, 60, 5)]
)
def test_retry_after_of_a_busy_receiver_is_obeyed_and_shortens_nothing(status: int, asked: int, pause_s: int) -> None:
    answer = Answer(status, retry_after_s=asked)
    assert lifecycle.after(answer, tries=1, dice=0).pause_s == pause_s
    assert lifecycle.left_alone_s(answer, standing=Standing(1)) == (asked if status in {429, 503} else 0)


def test_gone_is_the_last_try_and_disables() -> None:
    assert lifecycle.after(Answer(410), tries=1, dice=0) == Next(State.FAILED)
    assert lifecycle.given_up(Answer(410), standing=Standing(1, NOW, NOW), now=NOW) is Reason.GONE


def test_failures_are_counted_and_a_success_ends_the_row() -> None:
    first = lifecycle.standing_after(Answer(500), before=Standing(), now=NOW)
    assert first == Standing(1, NOW, NOW)
    second = lifecycle.standing_after(Answer(None, "too_slow"), before=first, now=NOW + DAY / 2)
    assert second == Standing(2, NOW, NOW + DAY / 2)
    assert lifecycle.standing_after(Answer(204), before=second, now=NOW + DAY) == Standing()


def test_a_day_without_a_failure_begins_a_new_row() -> None:
    before = Standing(3, NOW - 6 * DAY, NOW - DAY)
    after = lifecycle.standing_after(Answer(500), before=before, now=NOW)
    assert after.failing_since == NOW
    assert lifecycle.given_up(Answer(500), standing=after, now=NOW) is None


@pytest.mark.parametrize(
    ("days", "answer", "reason"),
    [(5, Answer(500), Reason.FAILING), (4.99, Answer(500), None), (9, Answer(204), None)],
)
def test_five_days_of_failures_disable(days: float, answer: Answer, reason: Reason | None) -> None:
    standing = Standing(9, NOW - days * DAY, NOW)
    assert lifecycle.given_up(answer, standing=standing, now=NOW) is reason


def test_who_fails_again_and_again_is_asked_less_and_less_often() -> None:
    alone = [lifecycle.left_alone_s(Answer(500), standing=Standing(failures)) for failures in range(12)]
    assert alone == [0, 0, 0, 10, 20, 40, 80, 160, 300, 300, 300, 300]
    assert lifecycle.left_alone_s(Answer(500), standing=Standing(10**6)) == 300


@pytest.mark.parametrize("text", ["operations.job.failed", "operations.job.*", "operations.*", "a_1"])
def test_a_filter_is_a_type_or_a_beginning(text: str) -> None:
    assert filters.well_formed(text)


@pytest.mark.parametrize("text", ["", "*", ".*", "operations.", "operations*", "a.*.b", "A", "a.*\n", "a%", "a..b"])
def test_everything_else_is_no_filter(text: str) -> None:
    assert not filters.well_formed(text)
