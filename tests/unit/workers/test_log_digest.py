"""A log's digest is of bytes that whoever reads the log can make again, whatever values stand in it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from apps.core.digests import canonical
from workers.attempt import _plain

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20)
).filter(lambda value: not (isinstance(value, str) and any(0xD800 <= ord(char) < 0xE000 for char in value)))


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), SCALARS, max_size=5))
def test_the_bytes_hashed_are_those_that_plain_json_makes_of_what_is_served(fields: dict[str, object]) -> None:
    kept = {name: _plain(value) for name, value in fields.items()}  # type: ignore[arg-type]
    line = ["2026-01-31T12:00:00Z", "info", "words", kept]
    served = json.loads(json.dumps(line))
    again = json.dumps(served, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical(line) == again
