"""The built-in evidence sink: a witness in a process, a folder and a key of its own. It knows no database.

`gunicorn workers.sink:application --config opsplatform/gunicorn_sink.py`. An envelope that a key of the log signed, and
whose records lead from where it last saw the log to the checkpoint it is given, is answered with 202, a name for it and
the checkpoint cosigned; anything else with a reason. It keeps no statement: of each log its size, peaks and cosigned
checkpoint, and a line for each batch. Run it on another machine, with the plane's public keys, and nobody who has the
plane can rewrite a log unseen (`docs/evidence.md`).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote
from wsgiref.types import StartResponse, WSGIEnvironment

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.evidence import merkle, witnessing
from apps.evidence.cosigning import Witness, cosigned
from apps.evidence.keys import published_in
from apps.evidence.logs import Log
from apps.evidence.ring import KeyRing
from apps.evidence.witnessing import NotAcceptedError, OutOfStepError, Seen
from apps.tenancy.keys import CachedFile, place

LARGEST: Final = 64 << 20
PRIVATE_FILE: Final = "witness.private"
PUBLIC_FILE: Final = "witness.key"


class Store:
    """What the witness remembers, in files of `folder`: a log's state is replaced at one stroke, and is on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def key(self) -> tuple[Witness, Ed25519PrivateKey]:
        """Return who cosigns here; made at the first call. The name tells two witnesses apart."""
        path = self._folder / PRIVATE_FILE
        if not path.exists():
            fresh = Ed25519PrivateKey.generate()
            name = f"operations-witness-{secrets.token_hex(4)}"
            place(path, json.dumps({"name": name, "key": fresh.private_bytes_raw().hex()}).encode())
        kept = json.loads(path.read_text(encoding="utf-8"))
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(kept["key"]))
        witness = Witness(name=kept["name"], public=key.public_key().public_bytes_raw())
        _replace(self._folder / PUBLIC_FILE, f"{witness.word()}\n".encode())
        return witness, key

    def seen(self, log: Log) -> Seen:
        """Return how far a log was seen."""
        try:
            kept = json.loads(self._path(log).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Seen(tree=merkle.Tree())
        peaks = merkle.split(bytes.fromhex(kept["peaks"]))
        return Seen(tree=merkle.Tree(size=kept["size"], peaks=peaks), note=kept["checkpoint"], ref=kept["ref"])

    @contextmanager
    def held(self, log: Log) -> Iterator[None]:
        """Hold a log against every other thread and process of this folder: a witness never goes two ways at once."""
        path = self._path(log).with_suffix(".lock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def keep(self, log: Log, seen: Seen, *, line: Mapping[str, Any]) -> None:
        """Remember how far a log, which is held, was seen, and add a line about the batch; on the disk by its end."""
        path = self._path(log)
        kept = {"size": seen.tree.size, "peaks": merkle.joined(seen.tree.peaks).hex()}
        _replace(path, json.dumps(kept | {"ref": seen.ref, "checkpoint": seen.note}).encode())
        with path.with_suffix(".batches").open("ab") as batches:
            batches.write(orjson.dumps(line) + b"\n")

    def _path(self, log: Log) -> Path:
        return self._folder / "logs" / _file_name(log.region) / f"{_file_name(log.tenant_id)}.json"


class Sink:
    """The application: one batch of a log at a time, whatever threads and processes there are."""

    def __init__(self, *, store: Store, ring: Callable[[], KeyRing]) -> None:
        self._store = store
        self._ring = ring
        self.witness, self._key = store.key()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        status, told = self._answer(environ)
        body = orjson.dumps(told)
        start_response(
            f"{status} {HTTPStatus(status).phrase}",
            [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
        )
        return [body]

    def _answer(self, environ: WSGIEnvironment) -> tuple[int, dict[str, Any]]:
        asked = environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/"
        if asked == ("GET", "/checkpoint"):
            return self._checkpoint(parse_qs(environ.get("QUERY_STRING", "")).get("origin", [""])[0])
        if asked != ("POST", "/"):
            return 404, {"code": "not_found", "detail": "POST / takes envelopes, GET /checkpoint?origin= tells"}
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length) > LARGEST:
            return 413, {"code": "too_large", "detail": f"up to {LARGEST} bytes would be right"}
        return self._judged(environ["wsgi.input"].read(int(length)))

    def _judged(self, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            return 202, self.accept(orjson.loads(body))
        except OutOfStepError as error:
            seen = self._store.seen(Log.named(error.origin))
            told = {"size": seen.tree.size, "ref": seen.ref, "checkpoint": seen.note}
            return 409, {"code": error.code, "detail": str(error), **told}
        except NotAcceptedError as error:
            return 422, {"code": error.code, "detail": str(error)}
        except ValueError:
            return 400, {"code": "bad_json", "detail": "a DSSE envelope in JSON would be right"}

    def accept(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Accept an envelope: return its name and the cosigned checkpoint, once both are on the disk."""
        ring = self._ring()
        batch = witnessing.opened(document, ring=ring)
        log = Log.named(batch.origin)
        with self._store.held(log):
            made = witnessing.accepted(batch, seen=self._store.seen(log), ring=ring)
            now = int(time.time())
            note = cosigned(made.note, by=self.witness, key=self._key, seconds=now)
            root = made.tree.root.hex()  # of all that the log holds: no other batch leads there
            ref = f"{self.witness.name}:{root[:32]}"
            line = {"ref": ref, "start": made.start, "size": made.tree.size, "root": root, "at": now}
            self._store.keep(log, Seen(tree=made.tree, note=note, ref=ref), line=line)
        return {"ref": ref, "checkpoint": note}

    def _checkpoint(self, origin: str) -> tuple[int, dict[str, Any]]:
        """Return the last checkpoint of a log that was cosigned here: what another history cannot have."""
        try:
            seen = self._store.seen(Log.named(origin))
        except ValueError:
            return 404, {"code": "not_found"}
        return (200, {"size": seen.tree.size, "checkpoint": seen.note}) if seen.note else (404, {"code": "not_found"})


def _file_name(text: str) -> str:
    """Return a name that is no way out of its folder: what `quote` leaves alone are the dots of `..`."""
    return quote(text, safe="").replace(".", "%2E")


def _replace(path: Path, content: bytes) -> None:
    """Write a file (0600) at one stroke, on the disk before this returns."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    place(draft, content)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def made(*, folder: Path, published: Path) -> Sink:
    """Return the sink of `folder`, for a plane whose public keys are in the file `published`, read when it changes."""
    held = CachedFile(published_in)
    return Sink(store=Store(folder), ring=lambda: held.read(published))


def _here() -> Sink:
    """Return the sink that the surroundings describe; they name a folder and a file, and no database."""
    home = Path(os.environ.get("OPS_HOME") or ".ops").expanduser().resolve()
    keys = Path(os.environ.get("OPS_KEYS") or home / "keys").expanduser()
    return made(
        folder=Path(os.environ.get("OPS_SINK_HOME") or home / "sink").expanduser(),
        published=Path(os.environ.get("OPS_SINK_KEYS") or keys / "evidence.pub.json").expanduser(),
    )


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with this process's sink, made at the first request or by gunicorn as it starts."""
    return ready()(environ, start_response)


def ready() -> Sink:
    """Return this process's sink."""
    with _making:
        if not _sinks:
            _sinks.append(_here())
        return _sinks[0]


_making: Final = threading.Lock()
_sinks: Final[list[Sink]] = []
