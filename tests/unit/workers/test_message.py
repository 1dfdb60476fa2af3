"""What travels through the broker: only what the plane signed is taken; a forgery is never anything but a forgery."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.jobs.bundling import MOST_JOBS
from workers.message import ForgedMessageError, Message, check

KEY = b"k" * 32
BUNDLE = UUID("0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9fff")
JOB = UUID("0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f00")
OTHER = UUID("0198f3a2-7b1c-7d3e-8f4a-5b6c7d8e9f01")
ONE = Message(BUNDLE, ((JOB, 3),))
TWO = Message(BUNDLE, ((JOB, 3), (OTHER, 7)))


def signed(message: Message = ONE, *, task: str = "kpi.refresh", key: bytes = KEY) -> list[Any]:
    """Return a message's arguments as they come over the wire."""
    return list(json.loads(json.dumps(message.args(task=task, key=key))))


MAC = signed()[2]
FULL = Message(BUNDLE, tuple((UUID(int=number), 1) for number in range(MOST_JOBS)))
OVERFULL = Message(BUNDLE, tuple((UUID(int=number), 1) for number in range(MOST_JOBS + 1)))


@pytest.mark.parametrize("message", [ONE, TWO, FULL], ids=["one job", "two jobs", "as many as there may be"])
def test_what_the_plane_signed_is_taken_and_survives_the_wire(message: Message) -> None:
    assert check(task="kpi.refresh", args=signed(message), key=KEY) == message


def test_a_mac_is_64_hex_digits_and_tells_nothing_of_the_key() -> None:
    assert len(MAC) == 64
    assert set(MAC) <= set("0123456789abcdef")
    assert KEY.hex() not in MAC


@pytest.mark.parametrize(
    ("what", "args"),
    [
        ("another job", [str(BUNDLE), [[str(OTHER), 3]], MAC]),
        ("another fence", [str(BUNDLE), [[str(JOB), 4]], MAC]),
        ("the fence before", [str(BUNDLE), [[str(JOB), 2]], MAC]),
        ("a fence of another sign", [str(BUNDLE), [[str(JOB), -3]], MAC]),
        ("another bundle", [str(OTHER), [[str(JOB), 3]], MAC]),
        ("the same bundle in capitals", [str(BUNDLE).upper(), [[str(JOB), 3]], MAC]),
        ("a job more", [str(BUNDLE), signed(TWO)[1], MAC]),
        ("a job less", [str(BUNDLE), signed(TWO)[1][:1], signed(TWO)[2]]),
        ("another order", [str(BUNDLE), signed(TWO)[1][::-1], signed(TWO)[2]]),
        ("the same job twice", [str(BUNDLE), [[str(JOB), 3], [str(JOB), 3]], MAC]),
        ("more jobs than there may be", signed(OVERFULL)),
        ("no jobs", [str(BUNDLE), [], MAC]),
        ("another type's message", signed(task="ops.noop")),
        ("another plane's key", signed(key=b"x" * 32)),
        ("no MAC", [str(BUNDLE), [[str(JOB), 3]], ""]),
        ("half a MAC", [str(BUNDLE), [[str(JOB), 3]], MAC[:32]]),
        ("a longer MAC", [str(BUNDLE), [[str(JOB), 3]], MAC + "0"]),
        ("a MAC in capitals", [str(BUNDLE), [[str(JOB), 3]], MAC.upper()]),
        ("a MAC that is no ASCII", [str(BUNDLE), [[str(JOB), 3]], "ä" * 64]),
        ("a MAC that is no text at all", [str(BUNDLE), [[str(JOB), 3]], "\ud800" * 64]),
        ("a fence as text", [str(BUNDLE), [[str(JOB), "3"]], MAC]),
        ("a fence as a float", [str(BUNDLE), [[str(JOB), 3.0]], MAC]),
        ("a fence that is true", [str(BUNDLE), [[str(JOB), True]], signed(Message(BUNDLE, ((JOB, 1),)))[2]]),
        ("a fence without end", [str(BUNDLE), [[str(JOB), 10**5000]], MAC]),
        ("no job id", [str(BUNDLE), [["", 3]], MAC]),
        ("a job id that is none", [str(BUNDLE), [["not-a-uuid", 3]], MAC]),
        ("a job id that is no text", [str(BUNDLE), [[7, 3]], MAC]),
        ("a dispatch that is none", [str(BUNDLE), [7], MAC]),
        ("a dispatch of three", [str(BUNDLE), [[str(JOB), 3, 3]], MAC]),
        ("a message of the version before", [str(JOB), 3, MAC]),
        ("null", [None, None, None]),
        ("nothing", []),
        ("two of three", [str(BUNDLE), [[str(JOB), 3]]]),
        ("one too many", [*signed(), "and more"]),
        ("an object", {"bundle_id": str(BUNDLE), "dispatches": [[str(JOB), 3]], "mac": MAC}),
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
        check(task="kpi.refresh", args=[str(BUNDLE), [[str(OTHER), 3]], "<script>"], key=KEY)
    assert "script" not in str(refused.value)
    assert str(OTHER) not in str(refused.value)


@given(st.integers(0, 63), st.sampled_from("0123456789abcdef"))
def test_changing_any_one_digit_of_the_mac_is_noticed(place: int, digit: str) -> None:
    bundle, dispatches, mac = signed()
    changed = mac[:place] + digit + mac[place + 1 :]
    if changed == mac:
        assert check(task="kpi.refresh", args=[bundle, dispatches, changed], key=KEY) == ONE
        return
    with pytest.raises(ForgedMessageError):
        check(task="kpi.refresh", args=[bundle, dispatches, changed], key=KEY)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(ANY_JSON | st.tuples(st.just(str(BUNDLE)), st.lists(ANY_JSON, max_size=3), ANY_JSON).map(list))
def test_whatever_json_a_forger_sends_is_a_forgery_and_never_another_error(args: object) -> None:
    with pytest.raises(ForgedMessageError):
        check(task="ops.noop", args=args, key=KEY)


DISPATCHES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=1, max_size=3).map(tuple)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a.b", "a.bc", "a.b\n"]), st.integers(0, 3), DISPATCHES), unique=True, max_size=20
    )
)
def test_no_two_messages_share_a_mac(messages: list[tuple[str, int, tuple[tuple[int, int], ...]]]) -> None:
    macs = {
        Message(UUID(int=bundle), tuple((UUID(int=job), fence) for job, fence in jobs)).args(task=task, key=KEY)[2]
        for task, bundle, jobs in messages
    }
    assert len(macs) == len(messages)
