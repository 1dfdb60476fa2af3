"""A tenant's own storage: the data path. Anything fsspec can reach; nothing outside the tenant's base is ever touched.

Paths come from params and contracts, so they are hostile until proven plain: the alphabet is small, each part is
judged, and on local disks the real place is looked up too, so that a symbolic link leads nowhere either.
A write appears under its name whole or not at all: a killed attempt leaves no half file, the next replaces it.
"""

import contextlib
import hashlib
import io
import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from apps.jobs.outcome import PermanentError

CHUNK_BYTES = 1024 * 1024
_MAX_PATH_CHARS = 1000
_PART = re.compile(r"[A-Za-z0-9._=+@-]{1,200}")
_PATH_RULE = (
    "a path must be relative to the tenant's storage, or a URI in it, "
    "of letters, digits and . _ = + @ - between single slashes"
)
_MODES = {"r": "rb", "rt": "rb", "rb": "rb", "w": "wb", "wt": "wb", "wb": "wb"}
_DEBRIS_AGE_S = 86_400  # a killed attempt's unfinished file is swept this long after its last write


class OutsideStorageError(PermanentError):
    """A path that leaves the tenant's storage, or could be read as doing so. The path itself is not repeated."""

    default_code = "outside_storage"


class MissingFileError(PermanentError):
    """The tenant's storage holds no such file."""

    default_code = "file_missing"


class Description(NamedTuple):
    """A file's size and fingerprint: `digest` is 'sha256:' and 64 hex digits."""

    bytes: int
    digest: str


class TenantStorage:
    """One tenant's files under `base_url` (file:///srv/storage/acme, s3://bucket/acme, …).

    Every method takes a path relative to the base ("datasets/weather/data.parquet") or a URI that `uri` gave.
    Raises OutsideStorageError on any other, MissingFileError where a file to read is not there.
    """

    def __init__(self, *, base_url: str) -> None:
        """Take the tenant's base. Raises ValueError if it is no absolute URL with a path of its own."""
        parts = urlsplit(base_url)
        if (
            not parts.scheme
            or parts.query
            or parts.fragment
            or "::" in base_url
            or not (parts.netloc + parts.path).strip("/")
        ):
            raise ValueError("a tenant's storage needs an absolute URL with a path of its own and nothing after it")
        self.base_url = base_url.rstrip("/")
        self._local: Path | None = None
        if parts.scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise ValueError("a file: storage must be on this machine")
            self._local = Path(unquote(parts.path)).resolve()

    def uri(self, path: str) -> str:
        """Return the full URI of `path`; the file need not exist."""
        return f"{self.base_url}/{self._relative(path)}"

    def exists(self, path: str) -> bool:
        """Return whether there is a file of that name."""
        relative = self._relative(path)
        if self._local is not None:
            return self._local_path(relative).is_file()
        filesystem, root = self._remote()
        return bool(filesystem.isfile(f"{root}/{relative}"))

    def size(self, path: str) -> int:
        """Return a file's size in bytes."""
        relative = self._relative(path)
        if self._local is not None:
            return self._present(relative).stat().st_size
        filesystem, root = self._remote()
        try:
            return int(filesystem.size(f"{root}/{relative}"))
        except FileNotFoundError as error:
            raise MissingFileError("the tenant's storage holds no such file") from error

    def digest(self, path: str) -> str:
        """Return 'sha256:' and the file's fingerprint in hex."""
        return self.describe(path).digest

    def describe(self, path: str) -> Description:
        """Return size and digest, both of one reading, so that they belong together."""
        sha256, length = hashlib.sha256(), 0
        with self.open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                sha256.update(chunk)
                length += len(chunk)
        return Description(length, f"sha256:{sha256.hexdigest()}")

    @contextlib.contextmanager
    def open(self, path: str, mode: str = "rb") -> Iterator[IO[Any]]:
        """Open a file for reading (r, rb) or for replacing it whole (w, wb); text is UTF-8. To be used in a `with`.

        What is written appears under its name when the `with` ends well; if it ends by an error, nothing changes.
        Raises ValueError on any other mode: a file half appended is a state nobody could explain.
        """
        if mode not in _MODES:
            raise ValueError(f"mode must be one of: {', '.join(sorted(_MODES))}")
        relative = self._relative(path)
        opened = self._reading(relative) if mode.startswith("r") else self._replacing(relative)
        with opened as raw:
            if mode.endswith("b"):
                yield raw
            else:
                text = io.TextIOWrapper(raw, encoding="utf-8", newline="")
                yield text
                text.flush()
                text.detach()

    @contextlib.contextmanager
    def _reading(self, relative: str) -> Iterator[Any]:
        if self._local is not None:
            with self._present(relative).open("rb") as file:
                yield file
            return
        filesystem, root = self._remote()
        try:
            file = filesystem.open(f"{root}/{relative}", "rb")
        except FileNotFoundError as error:
            raise MissingFileError("the tenant's storage holds no such file") from error
        with file:
            yield file

    def _replacing(self, relative: str) -> contextlib.AbstractContextManager[Any]:
        return self._replacing_remote(relative) if self._local is None else self._replacing_local(relative)

    @contextlib.contextmanager
    def _replacing_local(self, relative: str) -> Iterator[Any]:
        target = self._local_path(relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Random, not "<name>.part": a fenced-off attempt may still be writing while its successor does.
        part = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}.part")
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        for debris in target.parent.glob(f".{target.name[:100]}.*.part"):
            with contextlib.suppress(FileNotFoundError):
                if debris.stat().st_mtime < time.time() - _DEBRIS_AGE_S:
                    debris.unlink()

    @contextlib.contextmanager
    def _replacing_remote(self, relative: str) -> Iterator[Any]:
        # fsspec's own files upload what they hold when closed, by an error too; so spool first, then put at once.
        filesystem, root = self._remote()
        with tempfile.TemporaryDirectory(prefix="ops-spool-") as folder:
            spool = Path(folder) / "file"
            with spool.open("wb") as file:
                yield file
            filesystem.put_file(str(spool), f"{root}/{relative}")

    def _remote(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - the web process imports this module, and never opens a file

        filesystem, root = url_to_fs(self.base_url)
        return filesystem, str(root).rstrip("/")

    def _relative(self, path: str) -> str:
        """Return `path` relative to the base, or raise OutsideStorageError."""
        relative = path.removeprefix(f"{self.base_url}/")
        parts = relative.split("/")
        if (
            len(relative) > _MAX_PATH_CHARS
            or not all(_PART.fullmatch(part) for part in parts)
            or any(set(part) == {"."} for part in parts)
        ):
            raise OutsideStorageError(_PATH_RULE)
        return relative

    def _local_path(self, relative: str) -> Path:
        assert self._local is not None  # noqa: S101 - for the type checker: callers ask first
        real = (self._local / relative).resolve()
        if not real.is_relative_to(self._local) or real == self._local:
            raise OutsideStorageError("the path leads out of the tenant's storage")
        return real

    def _present(self, relative: str) -> Path:
        real = self._local_path(relative)
        if not real.is_file():  # a folder or a pipe is no file either: opening a pipe would wait for ever
            raise MissingFileError("the tenant's storage holds no such file")
        return real
