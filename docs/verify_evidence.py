#!/usr/bin/env python3
"""Check a run's receipt offline: python verify_evidence.py RECEIPT KEYS. Needs Python 3.11 and `cryptography`, no more.

RECEIPT: what GET /operations/jobs/{id}/evidence or `manage.py evidence_export` gave. KEYS: what `manage.py
evidence_keys show` prints, got from who runs the plane on another way than the receipt. Exit code 0 and a line for each
thing verified, or 1 and the reason. It shows that the plane signed these statements about this run and that they stand
in its log under the checkpoint; not that nothing came after the last, nor that others were shown the same log: for
that, keep checkpoints, and ask for proofs of consistency.
"""

import base64
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Json = dict[str, Any]


def need(true: Any, reason: str) -> None:
    if not true:
        raise SystemExit(f"NOT VERIFIED: {reason}")


def b64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "base64 that is not canonical")
    return data


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def check_signed(what: str, message: bytes, signatures: list[tuple[Json, bytes, bool]]) -> None:
    """All must match, and one be of a key in use at that size: a retired key that leaks signs nothing believed."""
    for key, signature, _ in signatures:
        try:
            Ed25519PublicKey.from_public_bytes(key["raw"]).verify(signature, message)
        except InvalidSignature:
            need(False, f"{what}: the signature of key {key['kid']} does not match")
    need(any(in_use for *_, in_use in signatures), f"no key that was in use signed {what}")


def check_checkpoint(note: str, origin: str, keys: list[Json]) -> tuple[int, bytes]:
    """C2SP tlog-checkpoint: origin, size, root, and signature lines below the last empty line."""
    text, _, block = note.rpartition("\n\n")
    lines, signatures = text.split("\n"), []
    need(len(lines) > 2 and lines[0] == origin and block.endswith("\n"), f"this is no checkpoint of {origin}")
    size, root = int(lines[1]), b64(lines[2])
    for dash, name, signature in (line.split(" ") for line in block.removesuffix("\n").split("\n")):
        for key in keys:
            identity = sha256(origin.encode(), b"\n\x01", key["raw"])[:4]
            if (dash, name, b64(signature)[:4]) == ("—", origin, identity):
                signatures.append((key, b64(signature)[4:], key["first"] <= size <= key["last"]))
    check_signed(f"the checkpoint of size {size}", f"{text}\n".encode(), signatures)
    return size, root


def check_witnesses(note: str, words: list[str]) -> None:
    """C2SP tlog-cosignature: who else saw the log grow to here, of the witnesses whose keys (name+id+key) are given."""
    text, _, block = note.rpartition("\n\n")
    for name, identity, key in (word.split("+", 2) for word in words):
        for _, who, signature in (line.split(" ") for line in block.removesuffix("\n").split("\n")):
            if (who, b64(signature)[:4].hex()) == (name, identity):
                seconds = int.from_bytes(b64(signature)[4:12], "big")
                signed = {"kid": name, "raw": b64(key)[1:]}, b64(signature)[12:], True
                check_signed("the cosignature", f"cosignature/v1\ntime {seconds}\n{text}\n".encode(), [signed])
                print(f"ok  cosigned by {name}, {datetime.fromtimestamp(seconds, tz=UTC).isoformat()}")


def check_inclusion(what: str, leaf: bytes, index: int, path: list[bytes], top: tuple[int, bytes]) -> None:
    """RFC 9162 §2.1.3.2."""
    need(0 <= index < top[0], f"{what} lies outside the checkpoint's {top[0]} records")
    fn, sn = index, top[0] - 1
    for step in path:
        need(sn, f"{what}: the proof is too long")
        left = fn & 1 or fn == sn
        leaf = sha256(b"\x01", step, leaf) if left else sha256(b"\x01", leaf, step)
        while left and fn and not fn & 1:
            fn, sn = fn >> 1, sn >> 1
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and leaf == top[1], f"{what}: the proof does not lead to the checkpoint's root")


def check_record(record: Json, receipt: Json, keys: list[Json], top: tuple[int, bytes]) -> tuple[Json, bytes]:
    """A DSSE envelope, whose payload's salted digest a C2SP tlog-proof places in the log: what it says, its leaf."""
    number, envelope, what = record["number"], record["envelope"], f"number {record['number']} ({record['predicate']})"
    need(record["proof"], f"{what} is not sealed yet")
    need(envelope, f"{what} was erased: the log proves that it was there, not what it said")
    kind, payload = envelope["payloadType"].encode(), b64(envelope["payload"])
    by = [(key, each) for each in envelope["signatures"] for key in keys if key["kid"] == each["keyid"]]
    signatures = [(key, b64(each["sig"]), number < key["last"]) for key, each in by]
    check_signed(what, b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload), signatures)
    head, _, note = record["proof"].partition("\n\n")
    need(note == receipt["checkpoint"], f"{what}: its proof is under another checkpoint")
    first, extra, place, *path = head.split("\n")
    need(first == "c2sp.org/tlog-proof@v1" and extra.startswith("extra "), f"{what}: its proof has no salt, or is none")
    need(place == f"index {number}", f"{what}: the proof is of another number")
    leaf = sha256(b"\x00", sha256(b64(extra.removeprefix("extra ")), payload))
    check_inclusion(what, leaf, number, [b64(line) for line in path], top)
    statement: Json = json.loads(payload)
    said: Json = statement["predicate"]
    about = receipt["series"]["first"] if receipt.get("series") else receipt["subject"]
    need(statement["subject"][0]["name"] == about, f"{what}: the statement is about something else")
    need(statement["predicateType"].endswith(f"/{record['predicate']}/v1"), f"{what}: the statement is of another kind")
    log = f"operations/{quote(said['region'], safe='')}/{said['tenant']}"
    need(log == receipt["origin"], f"{what}: the statement belongs into the log {log}")
    counted = f"{said['count']} refusals alike" if record["predicate"] == "series" else None
    print(f"ok  {what}: {said.get('outcome') or said.get('reason_code') or counted or 'admitted'}")
    return said, leaf


def check_series(receipt: Json, refusal: bytes, counted: Json) -> None:
    """A refusal for which the record of one alike stands: it is among those that a later record counted (RFC 9162)."""
    entry, path = receipt["series"]["entry"], [b64(each) for each in receipt["series"]["path"]]
    need(f"job:{entry['job']}" == receipt["subject"], "the series' entry is of something else")
    leaf = sha256(b"\x00", json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    index, top = receipt["series"]["index"], (counted["count"], bytes.fromhex(counted["root"]))
    need(counted["refusal"] == refusal.hex(), "the series counts refusals like another")
    check_inclusion("the series' entry", leaf, index, path, top)
    print(f"ok  {receipt['subject']} is {index + 1} of {counted['count']} refusals alike, at {entry['refused_at']}")


def main(receipt_file: str, keys_file: str) -> None:
    receipt, keys = (json.loads(Path(file).read_text(encoding="utf-8")) for file in (receipt_file, keys_file))
    need(receipt["format"] == "operations-receipt/1" and receipt["checkpoint"], "this is no sealed receipt")
    origin, subject = receipt["origin"], receipt["subject"]
    witnesses, keys = keys.get("witnesses", []), keys["keys"]
    for key in keys:
        need((key["kty"], key["crv"]) == ("OKP", "Ed25519"), f"{keys_file}: {key['kid']} is no Ed25519 key")
        key["raw"] = base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))
        key["first"], key["last"] = key["begins"].get(origin, 0), key.get("ends", {origin: sys.maxsize}).get(origin, -1)
    top = check_checkpoint(receipt["checkpoint"], origin, keys)
    print(f"ok  the checkpoint of {origin} at size {top[0]}, root {top[1].hex()}")
    check_witnesses(receipt["checkpoint"], witnesses)
    told = [check_record(record, receipt, keys, top) for record in receipt["records"]]
    kinds, numbers = ([record[name] for record in receipt["records"]] for name in ("predicate", "number"))
    need(kinds and numbers == sorted(set(numbers)), "the records are not in the order of the log, or there are none")
    need(kinds.count("outcome") <= kinds.count("admission"), "an outcome without its admission")
    ended = kinds[-1] in {"outcome", "refusal", "series"}
    if receipt.get("series"):
        ended = kinds == ["refusal", "series"]
        need(ended or kinds == ["refusal"], "the records are not those of a series")
        if ended:
            check_series(receipt, told[0][1], told[1][0])
    need(ended is receipt["complete"], "whether the run has ended is not what the receipt says")
    digests = {each.get("params_digest") or each["first"]["params_digest"] for each, _ in told}
    need(len(digests) == 1, "the records are of different requests")
    print(f"verified: {subject}, {'complete' if ended else 'NOT ended yet'}, {len(kinds)} records")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:]) if len(sys.argv) == 3 else sys.exit(__doc__)
    except (LookupError, ValueError, TypeError, AttributeError, OSError) as error:  # no receipt, or no key file
        raise SystemExit(f"NOT VERIFIED: {type(error).__name__}: {error}") from error
