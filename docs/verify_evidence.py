#!/usr/bin/env python3
"""Check a run's receipt offline: python verify_evidence.py RECEIPT KEYS. Needs Python 3.11 and `cryptography`, no more.

RECEIPT: what GET /operations/jobs/{id}/evidence or `manage.py evidence_export` gave. KEYS: what `manage.py
evidence_keys show` prints, got from who runs the plane on another way than the receipt. Exit code 0 and a line for each
thing verified, or 1 and the reason. It shows that the plane signed these statements about this run, and that they stand
in its log under the checkpoint. It cannot show that nothing was left out after the last record, nor that the log is
still the one that somebody else was shown: for that, keep checkpoints, and ask for proofs of consistency.
"""

import base64
import hashlib
import json
import sys
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


def check_signature(key: Json, signature: bytes, message: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key["raw"]).verify(signature, message)
    except InvalidSignature:
        need(False, f"{what}: the signature of key {key['kid']} does not match")


def read_keys(path: Path) -> list[Json]:
    found: list[Json] = json.loads(path.read_text(encoding="utf-8"))["keys"]
    for key in found:
        need((key["kty"], key["crv"]) == ("OKP", "Ed25519"), f"{path}: {key['kid']} is no Ed25519 key")
        key["raw"] = base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))
    return found


def covers(key: Json, origin: str, size: int) -> bool:
    """Was the key in use at this size of the log? A retired key that leaks signs nothing that is believed."""
    last = key["ends"].get(origin, -1) if "ends" in key else size
    return bool(key["begins"].get(origin, 0) <= size <= last)


def check_checkpoint(note: str, origin: str, keys: list[Json]) -> tuple[int, bytes]:
    """C2SP tlog-checkpoint: origin, size, root, and signature lines below the last empty line."""
    text, _, block = note.rpartition("\n\n")
    lines, by = text.split("\n"), 0
    need(len(lines) > 2 and lines[0] == origin and block.endswith("\n"), f"this is no checkpoint of {origin}")
    size, root = int(lines[1]), b64(lines[2])
    for line in block.removesuffix("\n").split("\n"):
        dash, name, encoded = line.split(" ")
        for key in keys:
            identity = sha256(origin.encode(), b"\n\x01", key["raw"])[:4]
            if dash == "—" and name == origin and b64(encoded)[:4] == identity:
                check_signature(key, b64(encoded)[4:], f"{text}\n".encode(), f"the checkpoint of size {size}")
                by += covers(key, origin, size)
    need(by, f"no key that was in use signed the checkpoint of size {size}")
    return size, root


def check_envelope(envelope: Json, index: int, origin: str, keys: list[Json], what: str) -> bytes:
    """DSSE: the signature is over type and payload, and over the payload's exact bytes."""
    kind, payload, by = envelope["payloadType"].encode(), b64(envelope["payload"]), 0
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    for signature in envelope["signatures"]:
        for key in keys:
            if key["kid"] == signature["keyid"]:
                check_signature(key, b64(signature["sig"]), message, what)
                by += "ends" not in key or index < key["ends"].get(origin, 0)
    need(by, f"{what}: no key that was in use signed the statement")
    return payload


def check_inclusion(leaf: bytes, index: int, path: list[bytes], top: tuple[int, bytes], what: str) -> None:
    """RFC 9162 §2.1.3.2."""
    need(0 <= index < top[0], f"{what} lies outside the checkpoint's {top[0]} records")
    fn, sn, found = index, top[0] - 1, leaf
    for step in path:
        need(sn, f"{what}: the proof is too long")
        if fn & 1 or fn == sn:
            found = sha256(b"\x01", step, found)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = sha256(b"\x01", found, step)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and found == top[1], f"{what}: the proof does not lead to the checkpoint's root")


def check_record(record: Json, receipt: Json, keys: list[Json], top: tuple[int, bytes]) -> Json:
    what = f"number {record['number']} ({record['predicate']})"
    need(record["proof"], f"{what} is not sealed yet")
    need(record["envelope"], f"{what} was erased: the log proves that it was there, not what it said")
    head, _, note = record["proof"].partition("\n\n")
    need(note == receipt["checkpoint"], f"{what}: its proof is under another checkpoint")
    first, extra, place, *path = head.split("\n")
    need(first == "c2sp.org/tlog-proof@v1" and extra.startswith("extra "), f"{what}: its proof has no salt, or is none")
    need(place == f"index {record['number']}", f"{what}: the proof is of another number")
    payload = check_envelope(record["envelope"], record["number"], receipt["origin"], keys, what)
    leaf = sha256(b"\x00", sha256(b64(extra.removeprefix("extra ")), payload))
    check_inclusion(leaf, record["number"], [b64(line) for line in path], top, what)
    statement = json.loads(payload)
    said: Json = statement["predicate"]
    need(statement["subject"][0]["name"] == receipt["subject"], f"{what}: the statement is about something else")
    need(statement["predicateType"].endswith(f"/{record['predicate']}/v1"), f"{what}: the statement is of another kind")
    log = f"operations/{quote(said['region'], safe='')}/{said['tenant']}"
    need(log == receipt["origin"], f"{what}: the statement belongs into the log {log}")
    print(f"ok  {what}: {said.get('outcome') or said.get('reason_code') or 'admitted'}")
    return said


def main(receipt_file: str, keys_file: str) -> None:
    receipt, keys = json.loads(Path(receipt_file).read_text(encoding="utf-8")), read_keys(Path(keys_file))
    need(receipt["format"] == "operations-receipt/1" and receipt["checkpoint"], "this is no sealed receipt")
    top = check_checkpoint(receipt["checkpoint"], receipt["origin"], keys)
    print(f"ok  the checkpoint of {receipt['origin']} at size {top[0]}, root {top[1].hex()}")
    said = [check_record(record, receipt, keys, top) for record in receipt["records"]]
    kinds, numbers = ([record[name] for record in receipt["records"]] for name in ("predicate", "number"))
    need(kinds and numbers == sorted(set(numbers)), "the records are not in the order of the log, or there are none")
    need(kinds.count("outcome") <= kinds.count("admission"), "an outcome without its admission")
    ended = kinds[-1] in {"outcome", "refusal"}
    need(ended is receipt["complete"], "whether the run has ended is not what the receipt says")
    need(len({each["params_digest"] for each in said}) == 1, "the records are of different requests")
    print(f"verified: {receipt['subject']}, {'complete' if ended else 'NOT ended yet'}, {len(kinds)} records")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        main(*sys.argv[1:])
    except (LookupError, ValueError, TypeError, AttributeError, OSError) as error:  # no receipt, or no key file
        raise SystemExit(f"NOT VERIFIED: {type(error).__name__}: {error}") from error
