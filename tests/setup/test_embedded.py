"""The embedded servers: real PostgreSQL and Valkey processes, started, found, hurt, recovered and stopped."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from opsplatform import embedded, os_processes
from opsplatform.embedded import EmbeddedError, Services
from opsplatform.embedded import home as homes
from tests.setup.conftest import a_home

NOBODY = 65534
CHECKOUT = Path(__file__).parents[2]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def ask(url: str | None, query: str) -> object:
    with psycopg.connect(url or "", autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


@contextlib.contextmanager
def broker(services: Services) -> Iterator["redis.Redis"]:
    client = redis.Redis.from_url(services.broker_url or "", decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def processes_of(home: Path) -> list[int]:
    """Every process that names the home in its arguments or works in it (PostgreSQL's children do)."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if str(home) in " ".join(process.cmdline()) or process.cwd().startswith(str(home)):
                found.append(process.pid)
    return found


def command(*arguments: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "opsplatform.embedded", *arguments],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "OPS_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class TestWhatIsServed:
    def test_the_database_is_durable_and_its_login_no_superuser(self, served: tuple[Path, Services]) -> None:
        _, services = served
        query = "SELECT rolsuper::text || rolcreaterole::text || rolcreatedb::text FROM pg_roles WHERE rolname = 'ops'"
        assert ask(services.database_url, query) == "falsetruetrue"
        assert ask(services.database_url, "SHOW fsync") == "on"
        assert ask(services.database_url, "SHOW timezone") == "UTC"
        assert str(ask(services.database_url, "SHOW server_version")).startswith("18.")
        assert ask(services.superuser_url, "SHOW password_encryption") == "scram-sha-256"

    def test_nobody_gets_in_without_the_password(self, served: tuple[Path, Services]) -> None:
        _, services = served
        assert services.postgres is not None
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=services.postgres.port, user="postgres", dbname="postgres")
        assert services.valkey is not None
        client = redis.Redis(port=services.valkey.port, retry=Retry(NoBackoff(), 0))
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        client.close()

    def test_the_broker_evicts_nothing_and_writes_down_what_it_holds(self, served: tuple[Path, Services]) -> None:
        with broker(served[1]) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("append*")["appendonly"] == "yes"
            assert client.config_get("append*")["appendfsync"] == "everysec"

    def test_the_folder_and_its_secrets_are_private(self, served: tuple[Path, Services]) -> None:
        home, _ = served
        assert home.stat().st_mode & 0o067 == 0
        for name in ("embedded.json", "run/services.json", "valkey/valkey.conf", "logs/postgres.log"):
            assert (home / name).stat().st_mode & 0o077 == 0, name

    def test_a_second_start_finds_the_first(self, served: tuple[Path, Services]) -> None:
        home, services = served
        assert embedded.start(home=home, variables={}) == services
        assert embedded.find(home=home) == services
        found = json.loads(command("start", home=home).stdout)
        assert found["postgres"]["pid"] == services.postgres.pid if services.postgres else None

    def test_another_home_runs_beside_it(self, served: tuple[Path, Services], home: Path) -> None:
        _, first = served
        second = embedded.start(home=home, variables={})
        assert first.postgres
        assert second.postgres
        assert first.valkey
        assert second.valkey
        ports = {server.port for server in (first.postgres, second.postgres, first.valkey, second.valkey)}
        assert len(ports) == 4
        embedded.stop(home=home)
        assert ask(first.database_url, "SELECT 1") == 1
        assert processes_of(home) == []

    def test_a_given_server_is_not_started(self, served: tuple[Path, Services], home: Path) -> None:
        _, given = served
        variables = {"DATABASE_URL": given.database_url or "", "BROKER_URL": given.broker_url or ""}
        assert embedded.start(home=home, variables=variables) == Services()
        assert processes_of(home) == []


class TestRecovery:
    def test_what_was_committed_outlives_a_kill_a_restart_and_a_stop(self, home: Path) -> None:
        first = embedded.start(home=home, variables={})
        assert first.postgres
        with psycopg.connect(first.database_url or "", autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        with broker(first) as client:
            client.set("kept", "7")
        sleeper = psycopg.connect(first.database_url or "")  # a busy child outlives its killed parent for a moment
        sleeper.pgconn.send_query(b"SELECT pg_sleep(600)")
        os.kill(first.postgres.pid, signal.SIGKILL)
        assert os_processes.wait_until(lambda: (embedded.find(home=home) or first).postgres is None, within_s=5)
        again = embedded.start(home=home, variables={})
        sleeper.close()
        assert again.postgres
        assert again.postgres.pid != first.postgres.pid
        assert again.database_url == first.database_url
        assert ask(again.database_url, "SELECT n FROM kept") == 7

        restarted = embedded.restart_postgres(home=home, mode="immediate")
        assert restarted.port == first.postgres.port
        assert ask(again.database_url, "SELECT n FROM kept") == 7

        embedded.stop(home=home)
        assert embedded.find(home=home) is None
        assert processes_of(home) == []
        last = embedded.start(home=home, variables={})
        assert ask(last.database_url, "SELECT n FROM kept") == 7
        with broker(last) as client:
            assert client.get("kept") == "7"

    def test_a_pid_file_whose_pid_is_another_process_by_now_is_stale(self, home: Path) -> None:
        server = embedded.start_postgres(home=home)
        written = (Path(server.data) / "postmaster.pid").read_text().splitlines()
        embedded.stop_postgres(home=home)
        owner = Path(server.data).stat()
        who = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
        with subprocess.Popen(["/bin/sleep", "60"], **who) as stranger:  # type: ignore[call-overload]
            stale = Path(server.data) / "postmaster.pid"
            stale.write_text("\n".join([str(stranger.pid), *written[1:]]) + "\n")
            os.chown(stale, owner.st_uid, owner.st_gid)
            services = homes.read_json(path=home / "run" / "services.json")
            entry = {"pid": stranger.pid, "mark": server.mark, "port": server.port, "data": server.data}
            services["postgres"] = {**entry, "started_at": server.started_at}
            homes.write_json(path=home / "run" / "services.json", document=services)
            assert embedded.find(home=home) is None
            assert embedded.start_postgres(home=home).port == server.port
            embedded.stop(home=home)
            assert stranger.poll() is None, "somebody else's process was ended"
            stranger.kill()

    def test_a_kept_port_that_is_taken_is_given_up(self, home: Path) -> None:
        before = embedded.start_valkey(home=home)
        embedded.stop_valkey(home=home)
        with socket.create_server(("127.0.0.1", before.port)):
            assert embedded.start_valkey(home=home).port != before.port

    def test_a_data_folder_half_made_is_made_anew(self, home: Path) -> None:
        homes.prepare(home=home)
        (home / "postgres.new").mkdir()
        (home / "postgres.new" / "PG_VERSION").write_text("18\n")
        assert embedded.start_postgres(home=home).lives()

    def test_killed_is_revived_and_stopped_on_purpose_is_not(self, home: Path) -> None:
        server = embedded.start_valkey(home=home)
        assert embedded.revive(home=home) == []
        os.kill(server.pid, signal.SIGKILL)
        assert os_processes.wait_until(lambda: not server.lives(), within_s=5)
        assert embedded.revive(home=home) == ["valkey"]
        embedded.stop_valkey(home=home)
        assert embedded.revive(home=home) == []
        assert embedded.find(home=home) is None

    def test_servers_outlive_a_killed_starter_and_two_starts_at_once_agree(self, home: Path) -> None:
        code = "from opsplatform import embedded; import os, pathlib, signal, sys\n"
        code += "embedded.start_valkey(home=pathlib.Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
        starters = [subprocess.Popen([sys.executable, "-c", code, str(home)], cwd=CHECKOUT) for _ in range(2)]
        assert {starter.wait(30) for starter in starters} == {-signal.SIGKILL}
        assert len(processes_of(home)) == 1
        found = embedded.find(home=home)
        assert found is not None
        assert found.valkey is not None
        embedded.stop(home=home)
        assert processes_of(home) == []


class TestRefusals:
    def test_a_folder_with_somebody_elses_files_is_neither_used_nor_erased(self, home: Path) -> None:
        (home / "thesis.tex").write_text("years of work")
        assert "thesis.tex" in command("start", home=home).stderr
        with pytest.raises(EmbeddedError, match="marker"):
            embedded.erase(home=home)
        assert (home / "thesis.tex").exists()

    def test_an_unusable_folder_is_one_line_and_code_2(self, home: Path) -> None:
        (home / "file").write_text("")
        refused = command("start", home=home / "file" / "home")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert str(home / "file" / "home") in refused.stderr

    @pytest.mark.parametrize(
        ("name", "url"),
        [
            ("DATABASE_URL", "postgresql://ops:geheim@127.0.0.1:9/ops"),
            ("BROKER_URL", "redis://:geheim@127.0.0.1:9/0"),
            ("BROKER_URL", "amqp://ops:geheim@127.0.0.1:9//"),
        ],
    )
    def test_an_unreachable_server_is_one_line_without_its_password(self, home: Path, name: str, url: str) -> None:
        other = {"DATABASE_URL": "BROKER_URL", "BROKER_URL": "DATABASE_URL"}[name]
        given = {name: url} if name == "DATABASE_URL" else {name: url, other: ""}
        refused = command("start", home=home, **given)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert name in refused.stderr
        assert "geheim" not in refused.stderr
        assert processes_of(home) == []


@AS_ROOT
class TestAsRoot:
    def test_a_closed_parent_stays_closed_and_the_data_stands_beside(self) -> None:
        with a_home() as parent:
            parent.chmod(0o700)
            home = parent / "home"
            server = embedded.start_postgres(home=home)
            try:
                assert not server.data.startswith(str(parent))
                assert parent.stat().st_mode & 0o777 == 0o700
                assert psutil.Process(server.pid).uids().real != 0
            finally:
                embedded.erase(home=home)
            assert not Path(server.data).parent.exists()
            assert not home.exists()

    def test_an_ordinary_user_needs_nothing_of_root(self) -> None:
        with a_home() as home:
            os.chown(home, NOBODY, NOBODY)

            def whole_life() -> None:
                services = embedded.start(home=home, variables={})
                assert services.postgres
                assert services.valkey
                for server in (services.postgres, services.valkey):
                    assert psutil.Process(server.pid).uids().real == NOBODY
                assert ask(services.database_url, "SELECT 1") == 1
                embedded.stop(home=home)

            as_nobody(whole_life)
            assert home.stat().st_mode & 0o777 == 0o700
            assert processes_of(home) == []

    def test_the_folder_of_another_user_is_one_line(self) -> None:
        with a_home() as home:
            homes.prepare(home=home)

            def refused() -> None:
                with pytest.raises(EmbeddedError, match=r"OPS_HOME .* (writable|cannot be used)"):
                    embedded.start(home=home, variables={})

            as_nobody(refused)


def as_nobody(act: Callable[[], None]) -> None:
    """Do it as an ordinary user, in a fork: this very Python may stand where such a user cannot go."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
        except BaseException:  # noqa: BLE001 - the fork must end here, whatever it was
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "see the captured output"
