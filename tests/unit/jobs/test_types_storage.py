"""A tenant's storage: nothing outside it is reached, and a file is there whole or not at all."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from apps.jobs.storage import MissingFileError, OutsideStorageError, TenantStorage


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "acme").mkdir()
    (tmp_path / "globex").mkdir()
    (tmp_path / "globex" / "secret.csv").write_text("x")
    (tmp_path / "acme-evil").mkdir()
    (tmp_path / "acme-evil" / "secret.csv").write_text("x")
    return tmp_path / "acme"


@pytest.fixture
def storage(base: Path) -> TenantStorage:
    return TenantStorage(base_url=base.as_uri())


HOSTILE = [
    "",
    ".",
    "..",
    "/",
    "../globex/secret.csv",
    "datasets/../../globex/secret.csv",
    "datasets/./x",
    "datasets//x",
    "datasets/",
    "/etc/passwd",
    "//etc/passwd",
    "//host/share",
    "%2e%2e/globex/secret.csv",
    "%2E%2E%2Fglobex%2Fsecret.csv",
    "..%2fglobex/secret.csv",
    "%252e%252e/globex/secret.csv",
    "..\\globex\\secret.csv",
    "datasets\\..\\..\\x",
    "x\x00.csv",
    "x\n.csv",
    "x y.csv",
    "~/x",
    "~root/x",
    "$HOME/x",
    "*.csv",
    "[a-z].csv",
    "x?.csv",
    "x#y",
    "．．/x",
    "‥/x",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "FILE:///etc/passwd",
    "http://example.com/x",
    "https://example.com/x",
    "s3://other/x",
    "memory://x",
    "zip://x::file:///etc/passwd",
    "simplecache::file:///etc/passwd",
    "C:/x",
    "a" * 201,
    "/".join(["a"] * 501),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_out_of_the_storage_is_refused_by_every_method(storage: TenantStorage, path: str) -> None:
    for method in (storage.uri, storage.exists, storage.size, storage.digest, storage.describe):
        with pytest.raises(OutsideStorageError):
            method(path)
    for mode in ("rb", "wb"):
        with pytest.raises(OutsideStorageError), storage.open(path, mode):
            pass


@pytest.mark.parametrize("path", [path for path in HOSTILE if path])
def test_a_uri_out_of_the_storage_is_refused_too(storage: TenantStorage, path: str) -> None:
    with pytest.raises(OutsideStorageError):
        storage.uri(f"{storage.base_url}/{path}")


def test_a_neighbour_whose_name_begins_alike_is_another(storage: TenantStorage) -> None:
    for uri in (f"{storage.base_url}-evil/secret.csv", storage.base_url, f"{storage.base_url}/"):
        with pytest.raises(OutsideStorageError):
            storage.exists(uri)


def test_a_refusal_does_not_repeat_the_path(storage: TenantStorage) -> None:
    with pytest.raises(OutsideStorageError) as caught:
        storage.uri("../canary-7f3a")
    assert "canary" not in caught.value.message


def test_a_symbolic_link_leads_nowhere(base: Path, storage: TenantStorage) -> None:
    (base / "folder").symlink_to(base.parent / "globex")
    (base / "file.csv").symlink_to(base.parent / "globex" / "secret.csv")
    (base / "gone.csv").symlink_to(base.parent / "globex" / "new.csv")
    for path in ("folder/secret.csv", "file.csv", "folder/new.csv", "gone.csv"):
        with pytest.raises(OutsideStorageError):
            storage.exists(path)
        for mode in ("rb", "wb"):
            with pytest.raises(OutsideStorageError), storage.open(path, mode):
                pass
    assert sorted(each.name for each in (base.parent / "globex").iterdir()) == ["secret.csv"]


def test_a_base_behind_a_link_or_with_a_space_works(tmp_path: Path) -> None:
    (tmp_path / "real folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real folder")
    for base in (tmp_path / "real folder", tmp_path / "link"):
        storage = TenantStorage(base_url=base.as_uri())
        with storage.open("x.txt", "w") as file:
            file.write("there")
        assert storage.exists(storage.uri("x.txt"))
    assert (tmp_path / "real folder" / "x.txt").read_text() == "there"


@pytest.mark.parametrize(
    "base_url", ["", "/srv/x", "file:///", "file://host/x", "s3://", "s3://b/x?y", "zip://a::file:///x"]
)
def test_a_base_that_is_no_place_of_its_own_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="storage"):
        TenantStorage(base_url=base_url)


@pytest.fixture(params=["file", "memory"])
def any_storage(request: pytest.FixtureRequest, tmp_path: Path) -> TenantStorage:
    """One on a disk, one in an object store's manner (fsspec's own, in memory)."""
    url = tmp_path.as_uri() if request.param == "file" else f"memory://bucket-{uuid.uuid4().hex}/acme"
    return TenantStorage(base_url=url)


def test_what_is_written_can_be_read_and_described(any_storage: TenantStorage) -> None:
    with any_storage.open("a/b/c.txt", "w") as file:
        file.write("grüße\r\n")
    expected = "grüße\r\n".encode()
    with any_storage.open(any_storage.uri("a/b/c.txt"), "r") as file:
        assert file.read() == "grüße\r\n"
    assert any_storage.size("a/b/c.txt") == len(expected)
    assert any_storage.describe("a/b/c.txt") == (len(expected), f"sha256:{hashlib.sha256(expected).hexdigest()}")


def test_a_second_attempt_replaces_the_first(any_storage: TenantStorage) -> None:
    for text in ("a longer first", "second"):
        with any_storage.open("x.txt", "w") as file:
            file.write(text)
    with any_storage.open("x.txt", "r") as file:
        assert file.read() == "second"


def test_a_write_that_breaks_off_changes_nothing(any_storage: TenantStorage) -> None:
    with any_storage.open("x.txt", "w") as file:
        file.write("whole")
    for path in ("x.txt", "new.txt"):
        with pytest.raises(UnicodeEncodeError), any_storage.open(path, "w") as file:
            file.writelines(["ha" * 100_000, "\ud800"])
    with any_storage.open("x.txt", "r") as file:
        assert file.read() == "whole"
    assert not any_storage.exists("new.txt")


def test_nothing_is_seen_under_the_name_before_the_end(any_storage: TenantStorage) -> None:
    with any_storage.open("x.bin", "wb") as file:
        file.write(b"x" * 100_000)
        file.flush()
        assert not any_storage.exists("x.bin")
    assert any_storage.size("x.bin") == 100_000


def test_a_missing_file_is_told(any_storage: TenantStorage) -> None:
    for method in (any_storage.size, any_storage.digest):
        with pytest.raises(MissingFileError):
            method("gone.csv")
    assert not any_storage.exists("gone.csv")


def test_a_folder_or_a_pipe_is_no_file(base: Path, storage: TenantStorage) -> None:
    (base / "folder").mkdir()
    os.mkfifo(base / "pipe")
    for path in ("folder", "pipe"):
        assert not storage.exists(path)
        with pytest.raises(MissingFileError), storage.open(path, "rb"):
            pass


@pytest.mark.parametrize("mode", ["a", "ab", "r+", "x", "w+b", ""])
def test_other_modes_are_refused(storage: TenantStorage, mode: str) -> None:
    with pytest.raises(ValueError, match="mode"), storage.open("x.txt", mode):
        pass


def test_what_killed_attempts_left_is_swept_when_old(base: Path, storage: TenantStorage) -> None:
    old, young = base / ".x.csv.0.part", base / ".x.csv.1.part"
    old.write_text("half")
    young.write_text("half")
    os.utime(old, (time.time() - 200_000,) * 2)
    with storage.open("x.csv", "w") as file:
        file.write("whole")
    assert sorted(each.name for each in base.iterdir()) == [".x.csv.1.part", "x.csv"]


def test_a_killed_writer_leaves_no_half_file(base: Path, storage: TenantStorage) -> None:
    script = (
        "import os, signal, sys\n"
        "from apps.jobs.storage import TenantStorage\n"
        "with TenantStorage(base_url=sys.argv[1]).open('x.csv', 'wb') as file:\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, base.as_uri()], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not storage.exists("x.csv")
    with storage.open("x.csv", "w") as file:
        file.write("whole")
    assert (base / "x.csv").read_text() == "whole"
