"""What travels through the broker: only what the plane signed is taken; a forgery is never anything but a forgery."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.message import ForgedMessageError, check, sign

KEY = b"k" * 32
JOB = UUID("0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00")
OTHER = UUID("0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f01")


def signed(*, task: str = "kpi.refresh", job_id: UUID = JOB, fence: int = 3, key: bytes = KEY) -> list[Any]:
    return [str(job_id), fence, sign(task=task, job_id=job_id, fence=fence, key=key)]


def test_what_the_plane_signed_is_taken_and_survives_the_wire() -> None:
    assert check(task="kpi.refresh", args=json.loads(json.dumps(signed())), key=KEY) == (JOB, 3)


def test_a_mac_is_64_hex_digits_and_tells_nothing_of_the_key() -> None:
    mac = signed()[2]
    assert len(mac) == 64
    assert set(mac) <= set("0123456789abcdef")
    assert KEY.hex() not in mac


@pytest.mark.parametrize(
    ("what", "args"),
    [
        ("another job", [str(OTHER), 3, signed()[2]]),
        ("another fence", [str(JOB), 4, signed()[2]]),
        ("the fence before", [str(JOB), 2, signed()[2]]),
        ("a fence of another sign", [str(JOB), -3, signed()[2]]),
        ("another type's message", signed(task="ops.noop")),
        ("another plane's key", signed(key=b"x" * 32)),
        ("no MAC", [str(JOB), 3, ""]),
        ("half a MAC", [str(JOB), 3, signed()[2][:32]]),
        ("a longer MAC", [str(JOB), 3, signed()[2] + "0"]),
        ("a MAC in capitals", [str(JOB), 3, signed()[2].upper()]),
        ("a MAC that is no ASCII", [str(JOB), 3, "ä" * 64]),
        ("a MAC that is no text at all", [str(JOB), 3, "\ud800" * 64]),
        ("a fence as text", [str(JOB), "3", signed()[2]]),
        ("a fence as a float", [str(JOB), 3.0, signed()[2]]),
        ("a fence that is true", [str(JOB), True, signed(fence=1)[2]]),
        ("a fence without end", [str(JOB), 10**5000, signed()[2]]),
        ("no job id", ["", 3, signed()[2]]),
        ("a job id that is none", ["not-a-uuid", 3, signed()[2]]),
        ("a job id that is no text", [7, 3, signed()[2]]),
        ("null", [None, None, None]),
        ("nothing", []),
        ("two of three", [str(JOB), 3]),
        ("one too many", [*signed(), "and more"]),
        ("an object", {"job_id": str(JOB), "fence": 3, "mac": signed()[2]}),
        ("text", "job"),
        ("no arguments", None),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_a_message_that_the_plane_did_not_make_is_refused(what: str, args: object) -> None:
    with pytest.raises(ForgedMessageError, match=r"kpi\.refresh"):
        check(task="kpi.refresh", args=args, key=KEY)


def test_the_refusal_repeats_nothing_of_what_the_forger_wrote() -> None:
    with pytest.raises(ForgedMessageError) as refused:
        check(task="kpi.refresh", args=[str(OTHER), 3, "<script>"], key=KEY)
    assert "script" not in str(refused.value)
    assert str(OTHER) not in str(refused.value)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_changing_any_one_digit_of_the_mac_is_noticed(place: int, digit: str) -> None:
    job, fence, mac = signed()
    changed = mac[:place] + digit + mac[place + 1 :]
    if changed == mac:
        assert check(task="kpi.refresh", args=[job, fence, changed], key=KEY) == (JOB, 3)
        return
    with pytest.raises(ForgedMessageError):
        check(task="kpi.refresh", args=[job, fence, changed], key=KEY)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_whatever_json_a_forger_sends_is_a_forgery_and_never_another_error(args: object) -> None:
    with pytest.raises(ForgedMessageError):
        check(task="ops.noop", args=args, key=KEY)


@given(
    st.lists(st.tuples(st.sampled_from(["a.b", "a.bc", "a.b\n"]), st.integers(0, 40), st.integers(0, 40)), unique=True)
)
def test_no_two_dispatches_share_a_mac(dispatches: list[tuple[str, int, int]]) -> None:
    macs = {sign(task=task, job_id=UUID(int=job), fence=fence, key=KEY) for task, job, fence in dispatches}
    assert len(macs) == len(dispatches)
