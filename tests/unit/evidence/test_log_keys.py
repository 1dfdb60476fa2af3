"""Log keys rotate with an overlap, retire for good, and are believed only of the sizes they were in use for."""

from __future__ import annotations

import dataclasses
import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OKPKey

from apps.evidence import keys, notes
from apps.evidence.notes import BadNoteError, Checkpoint
from apps.tenancy.keys import BadKeyError, KeysMissingError

ORIGIN = "operations/local/acme"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, settings: Any) -> Path:
    """A first key, in a folder of the test's own."""
    settings.ENVIRONMENT = dataclasses.replace(settings.ENVIRONMENT, keys=tmp_path)
    assert keys.ensure(folder=tmp_path)
    return tmp_path / keys.FILE


def note(size: int) -> str:
    return keys.ring().signed(Checkpoint(origin=ORIGIN, size=size, root=bytes(32)))


def believed(signed: str) -> int:
    return keys.ring().opened(signed, origin=ORIGIN).size


def test_one_key_is_made_once_and_only_its_owner_may_read_it(file: Path, tmp_path: Path) -> None:
    before = file.read_text()
    assert not keys.ensure(folder=tmp_path)
    assert file.read_text() == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(keys.ring().signing) == 1


def test_both_sign_in_the_overlap_and_the_new_one_alone_afterwards(file: Path) -> None:
    (old, _), *_ = keys.ring().signing
    first = note(5)
    new = keys.begin(sizes={ORIGIN: 5})
    assert [kid for kid, _ in keys.ring().signing] == [old, new]
    second = note(8)
    assert len(notes.signatures(second)[1]) == 2
    keys.retire(old, sizes={ORIGIN: 8})
    assert [kid for kid, _ in keys.ring().signing] == [new]
    third = note(9)
    assert [believed(each) for each in (first, second, third)] == [5, 8, 9], "what was signed stays signed"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_retired_key_that_leaked_adds_nothing(file: Path) -> None:
    (old, private), *_ = keys.ring().signing
    keys.begin(sizes={ORIGIN: 5})
    keys.retire(old, sizes={ORIGIN: 8})
    for origin, size in ((ORIGIN, 9), ("operations/local/new", 1)):
        forged = notes.signed(Checkpoint(origin=origin, size=size, root=bytes(32)).text(), name=origin, keys=[private])
        with pytest.raises(BadNoteError, match=f"not in use at size {size}"):
            keys.ring().opened(forged, origin=origin)


def test_a_new_key_has_no_past(file: Path) -> None:
    keys.begin(sizes={ORIGIN: 5})
    _, (_, private) = keys.ring().signing
    forged = notes.signed(Checkpoint(origin=ORIGIN, size=4, root=bytes(32)).text(), name=ORIGIN, keys=[private])
    with pytest.raises(BadNoteError, match="not in use at size 4"):
        believed(forged)


def test_a_checkpoint_of_another_log_is_refused(file: Path) -> None:
    theirs = Checkpoint(origin="operations/local/globex", size=1, root=bytes(32))
    forged = notes.signed(theirs.text(), name=ORIGIN, keys=[key for _, key in keys.ring().signing])
    with pytest.raises(BadNoteError, match=r"of operations/local/globex, not of"):
        believed(forged)


def test_a_retired_keys_private_half_is_gone(file: Path) -> None:
    (secret,) = [each["d"] for each in json.loads(file.read_text())["keys"]]
    (old, _), *_ = keys.ring().signing
    keys.begin(sizes={})
    keys.retire(old, sizes={})
    assert secret not in file.read_text()


def test_the_last_key_cannot_retire_nor_one_that_is_unknown_or_retired(file: Path) -> None:
    (old, _), *_ = keys.ring().signing
    with pytest.raises(keys.NoSuchKeyError, match="rotate first"):
        keys.retire(old, sizes={})
    keys.begin(sizes={})
    keys.retire(old, sizes={})
    for kid in (old, "unknown"):
        with pytest.raises(keys.NoSuchKeyError, match=f"no key {kid} signs"):
            keys.retire(kid, sizes={})


def test_what_is_published_and_what_is_shown_holds_no_secret(file: Path) -> None:
    keys.begin(sizes={ORIGIN: 5})
    secrets = [each["d"] for each in json.loads(file.read_text())["keys"]]
    published = keys.ring().published()
    said = json.dumps(published) + repr(keys.ring()) + " ".join(keys.ring().verifier_keys(origin=ORIGIN))
    assert not [each for each in secrets if each in said]
    assert "Ed25519PrivateKey" not in said
    assert published["keys"][1]["begins"] == {ORIGIN: 5}
    kept = {each["kid"]: each["x"] for each in json.loads(file.read_text())["keys"]}
    assert {each["kid"]: each["x"] for each in published["keys"]} == kept


def test_editors_do_not_lose_each_others_keys(file: Path) -> None:
    threads = [threading.Thread(target=keys.begin, kwargs={"sizes": {}}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({kid for kid, _ in keys.ring().signing}) == 9


def test_a_missing_or_spoiled_file_is_named_and_not_shown(file: Path) -> None:
    spoiled = json.loads(file.read_text())["keys"][0]["d"]
    file.write_text(json.dumps({"keys": [{"d": spoiled}]}))
    with pytest.raises(BadKeyError, match="not a set") as said:
        keys.ring()
    assert spoiled not in str(said.value)
    file.unlink()
    for ask in (keys.ring, lambda: keys.begin(sizes={})):
        with pytest.raises(KeysMissingError, match="set_up"):
            ask()


def test_no_new_key_has_an_id_that_a_command_line_takes_for_an_option(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter(["-dash", "--dashes", "plain-one"])
    generate = OKPKey.generate_key

    def made(curve: Any, **_: Any) -> OKPKey:
        return generate(curve, parameters={"kid": next(ids)})

    monkeypatch.setattr(OKPKey, "generate_key", made)
    assert keys.begin(sizes={}) == "plain-one"
