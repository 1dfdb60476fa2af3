"""Failures that are the same one again have one fingerprint; others have others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.jobs.fingerprint import dedup_key, fingerprint, module_of, normalised, of_failure

ERROR = {"class": "builtins.KeyError", "code": "unexpected_error", "message": None, "fingerprint": "0a1b2c3d4e5f6071"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 17 of 2,000 is too long", "row 9 of 31 is too long"),
        ("cannot reach 10.0.0.7:5432", "cannot reach 10.1.22.3:6432"),
        ("cannot reach [fe80:0:0:1::7]", "cannot reach [fe80:0:0:2::a]"),
        ("connection to db.internal:5432 refused", "connection to db.internal:6001 refused"),
        ("order 0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00 is open", "order 0198f3a2-7b1c-7d3e-8f4a-000000000000 is open"),
        ("object at 0x7f3a2b at offset -12", "object at 0x55d at offset 4096"),
        ("digest 9f86d081884c7d659a2feaa0 differs", "digest 2c26b46b68ffc68ff99b453c differs"),
        ("cannot open /data/acme/2026/x.csv", "cannot open /mnt/other.csv"),
        ("cannot open 'C:\\in\\a.csv'", "cannot open 'D:\\out\\deep\\b.csv'"),
        ("cannot open in/acme/a.parquet", "cannot open in/globex/b.parquet"),
        ("s3://bucket/a/b?v=1 is gone", "s3://other/c is gone"),
        ("not before 2026-11-26T10:01:02.5Z", "not before 2025-01-02 03:04:05+02:00"),
        ("stopped at 10:31:02", "stopped at 9:02:59.123"),
        ("token 01hzx4q8m2v7k9p3 expired", "token 9b2k4m6p8r1t3v5x expired"),
        ("Too  slow\n", "too slow"),
        ("1.5e3 rows", "2.25e-7 rows"),
    ],
)
def test_what_differs_with_each_run_makes_no_other_message(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("customers is empty", "orders is empty"),
        ("read and/or write failed", "read and write failed"),
        ("relation customers_2024 is missing", "relation orders_2024 is missing"),
        ("the face is bad", "the cafe is bad"),
    ],
)
def test_what_says_another_thing_stays_another_message(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(
    st.text(alphabet=st.sampled_from("ab cdef019 /\\.:-+#<>'\"xz_%T~,éß\n\x00"), max_size=80) | st.text(max_size=200)
)
def test_a_normalised_message_stays_as_it_is(message: str) -> None:
    once = normalised(message)
    assert normalised(once) == once


@given(st.integers(min_value=0), st.integers(min_value=0), st.uuids(), st.uuids())
def test_numbers_and_ids_of_any_size_are_taken_out(one: int, other: int, an_id: object, another: object) -> None:
    assert normalised(f"row {one} of {an_id}: bad") == normalised(f"row {other} of {another}: bad")


def test_a_very_long_message_costs_what_its_beginning_costs() -> None:
    for piece in ("/a", "a/", "a.", "1:", "f:", "a@", "0x", "http://", "~/", "1-"):
        assert len(normalised(piece * 500_000)) <= 4096


def test_a_failure_is_told_apart_by_each_of_its_parts() -> None:
    parts: dict[str, Any] = {
        "tenant_id": "acme",
        "module": "kpi",
        "kind": "kpi.refresh",
        "error_class": "ValueError",
        "message": "no",
    }
    others: dict[str, Any] = {
        "tenant_id": None,
        "module": "etl",
        "kind": "kpi.other",
        "error_class": "KeyError",
        "message": "yes",
    }
    prints = {fingerprint(**parts)} | {fingerprint(**parts | {name: value}) for name, value in others.items()}
    assert len(prints) == 6
    assert all(len(each) == 32 for each in prints)


def test_parts_that_are_cut_elsewhere_are_other_parts() -> None:
    one = fingerprint(tenant_id="acme", module="a", kind="bc", error_class="d", message="e")
    assert one != fingerprint(tenant_id="acme", module="ab", kind="c", error_class="d", message="e")


def test_of_an_error_without_a_vouched_sentence_its_own_fingerprint_tells() -> None:
    def made(**kept: str) -> str:
        return of_failure(tenant_id="acme", job_type="kpi.refresh", error={**ERROR, **kept}, reason_code="failed")

    assert made() == made(location="other.py:17")
    assert made() != made(fingerprint="ffffffffffffffff")
    assert made(message="row 1 is bad", fingerprint="a") == made(message="row 2 is bad", fingerprint="b")


def test_a_lost_worker_has_a_fingerprint_too() -> None:
    lost = of_failure(tenant_id="acme", job_type="kpi.refresh", error=None, reason_code="worker_lost")
    assert lost != of_failure(tenant_id="acme", job_type="kpi.refresh", error=None, reason_code="timed_out")
    assert dedup_key(lost) == f"job:{lost}"


def test_a_module_is_what_stands_before_the_first_dot() -> None:
    assert [module_of(each) for each in ("kpi.refresh", "data.check.deep", "lone")] == ["kpi", "data", "lone"]
