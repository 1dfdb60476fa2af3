"""The rules over how upstreams ended, as a whole product against what Airflow's words mean."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from apps.jobs.dependencies import Rule, Settled, Verdict, judge, settle

# rule → verdict by the set of ends there are: S succeeded, F failed, K skipped, O still open. Only the kinds matter,
# never how many of each: the product below holds that as well.
TABLE = """
all_success   S run    F upstream_failed  K skipped  O wait
all_success   SF upstream_failed  SK skipped  SO wait  FK upstream_failed  FO upstream_failed  KO skipped
all_success   SFK upstream_failed  SFO upstream_failed  SKO skipped  FKO upstream_failed  SFKO upstream_failed
all_done      S run    F run  K run  O wait
all_done      SF run  SK run  SO wait  FK run  FO wait  KO wait
all_done      SFK run  SFO wait  SKO wait  FKO wait  SFKO wait
one_success   S run    F upstream_failed  K skipped  O wait
one_success   SF run  SK run  SO run  FK upstream_failed  FO wait  KO wait
one_success   SFK run  SFO run  SKO run  FKO wait  SFKO run
one_failed    S skipped    F run  K skipped  O wait
one_failed    SF run  SK skipped  SO wait  FK run  FO run  KO wait
one_failed    SFK run  SFO run  SKO wait  FKO run  SFKO run
none_failed   S run    F upstream_failed  K run  O wait
none_failed   SF upstream_failed  SK run  SO wait  FK upstream_failed  FO upstream_failed  KO wait
none_failed   SFK upstream_failed  SFO upstream_failed  SKO wait  FKO upstream_failed  SFKO upstream_failed
always        S run    F run  K run  O run
always        SF run  SK run  SO run  FK run  FO run  KO run
always        SFK run  SFO run  SKO run  FKO run  SFKO run
"""
ENDS: dict[str, Settled | None] = {"S": Settled.SUCCEEDED, "F": Settled.FAILED, "K": Settled.SKIPPED, "O": None}


def expected() -> dict[tuple[str, frozenset[str]], str]:
    found: dict[tuple[str, frozenset[str]], str] = {}
    for line in filter(None, TABLE.split("\n")):
        rule, *words = line.split()
        found |= {(rule, frozenset(kinds)): verdict for kinds, verdict in zip(words[::2], words[1::2], strict=True)}
    return found


EXPECTED = expected()


def test_the_table_says_something_of_every_rule_and_every_kind_of_ends() -> None:
    assert len(EXPECTED) == len(Rule) * (2**4 - 1)


@pytest.mark.parametrize("rule", list(Rule), ids=lambda rule: rule.value)
def test_a_rule_says_what_the_table_says_of_up_to_five_upstreams(rule: Rule) -> None:
    for count in range(1, 6):
        for kinds in combinations_with_replacement("SFKO", count):
            said = judge(rule, [ENDS[kind] for kind in kinds])
            assert said == EXPECTED[rule.value, frozenset(kinds)], (rule, kinds)
            assert judge(rule, [ENDS[kind] for kind in reversed(kinds)]) is said, "the order must not matter"


def test_a_word_once_said_is_never_taken_back() -> None:
    """What was decided while some were open is what is decided when they have ended, however they end."""
    for rule in Rule:
        for kinds in combinations_with_replacement("SFKO", 4):
            early = judge(rule, [ENDS[kind] for kind in kinds])
            if early is Verdict.WAIT or "O" not in kinds:
                continue
            for last in "SFK":
                late = judge(rule, [ENDS[last if kind == "O" else kind] for kind in kinds])
                assert (late is Verdict.RUN) == (early is Verdict.RUN), (rule, kinds, last)


@pytest.mark.parametrize(
    ("outcome", "reason", "means"),
    [
        ("succeeded", None, "succeeded"),
        ("failed", "permanent", "failed"),
        ("timed_out", "deadline", "failed"),
        ("rejected", "contract_required", "failed"),
        ("cancelled", "cancelled", "failed"),
        ("cancelled", "upstream_failed", "failed"),
        ("cancelled", "skipped", "skipped"),
    ],
)
def test_what_an_end_means(outcome: str, reason: str | None, means: str) -> None:
    assert settle(outcome=outcome, reason_code=reason).value == means
