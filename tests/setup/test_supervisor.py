"""The supervisor: real processes under a small Procfile, killed, stopped, and looked for afterwards."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from opsplatform import os_processes
from opsplatform.embedded import Services
from opsplatform.embedded.server import random_port
from opsplatform.plane import Plane, PlaneError
from opsplatform.supervisor import procfile, state
from tests.setup.conftest import a_home

CHECKOUT = Path(__file__).parents[2]
PROCFILE = """\
# a web process that answers /readyz, one with a child of its own, one that cannot stop, one that cannot start
web: python -m http.server $OPS_PORT --bind $OPS_HOST
family: sh -c 'sleep 600 & wait'
told: sh -c 'env | sort; exec sleep 600'
stubborn: sh -c 'trap "" TERM; echo deaf; while :; do sleep 1; done'
failing: sh -c 'echo out of paper; exit 3'
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the processes start: their Procfile, and what the web process serves."""
    (tmp_path / "Procfile").write_text(PROCFILE)
    (tmp_path / "readyz").write_text("ready")
    return tmp_path


@contextlib.contextmanager
def a_plane(folder: Path, services: Services, *only: str, **variables: str) -> Iterator[Plane]:
    """A plane on servers that another home runs, so that each test costs no database of its own."""
    with a_home() as home:
        given = {"DATABASE_URL": services.database_url or "", "BROKER_URL": services.broker_url or ""}
        plane = Plane(
            home=home / "home",
            port=random_port(),
            flower_port=random_port(),
            variables={**given, **variables},
            only=only,
            procfile=folder / "Procfile",
            set_up=False,
            ready_within_s=20,
        )
        plane.start()
        try:
            yield plane
        finally:
            plane.stop()
            assert state.leftovers(home=plane.home) == []


def gone(*pids: int) -> bool:
    return os_processes.wait_until(lambda: all(os_processes.birth_mark(pid=pid) is None for pid in pids), within_s=10)


def child_of(pid: int) -> int:
    family = psutil.Process(pid)
    assert os_processes.wait_until(lambda: len(family.children()) == 1, within_s=5)
    return family.children()[0].pid


def supervisor(action: str, *, home: Path, port: int = 0) -> "subprocess.CompletedProcess[str]":
    variables = {"PATH": os.environ["PATH"], "OPS_HOME": str(home), "OPS_PORT": str(port or random_port())}
    return subprocess.run(
        [sys.executable, "-m", "opsplatform.supervisor", *action.split()],
        cwd=CHECKOUT,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_is_ready_when_the_web_process_says_so(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "web", "told") as plane:
        with urllib.request.urlopen(f"{plane.url}/readyz", timeout=5) as answer:  # noqa: S310 - loopback
            assert answer.read() == b"ready"
        assert set(plane.processes()) == {"web", "told"}
        printed = plane.output()
        assert plane.addresses["docs"] in printed
        assert str(plane.home / "operator") in printed
        assert "***" in plane.addresses["database"], "a given server's password is not shown"


def test_a_process_is_told_where_and_what_it_is(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "told") as plane:
        log = plane.home / "logs" / "told.log"
        assert os_processes.wait_until(lambda: "PYTHONUNBUFFERED=1" in log.read_text(), within_s=5)
        told = dict(line.partition("=")[::2] for line in log.read_text().splitlines())
        assert told["OPS_HOME"] == str(plane.home)
        assert told["OPS_PORT"] == str(plane.port)
        assert told["OPS_PROCESS"] == "told"
        assert told["PATH"].startswith(str(Path(sys.executable).parent))
        assert Path(told["PROMETHEUS_MULTIPROC_DIR"]).is_dir()


def test_what_dies_is_started_again_and_its_children_end_with_it(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "family", "told") as plane:
        other = plane.pid("told")
        family = plane.pid("family")
        child = child_of(family)
        assert plane.kill("family") != family
        assert gone(family, child)
        assert plane.processes()["family"]["restarts"] == 1
        assert plane.pid("told") == other, "its neighbours go on"
        assert "was killed by SIGKILL" in plane.output()


def test_one_that_cannot_start_is_tried_ever_more_slowly(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "failing", "told") as plane:
        assert os_processes.wait_until(lambda: plane.processes()["failing"]["restarts"] >= 5, within_s=10)
        assert "died with code 3: out of paper" in plane.output()
        first, last = (datetime.fromisoformat(plane.processes()[name]["started_at"]) for name in ("told", "failing"))
        assert last - first > timedelta(seconds=1.4), "0.1 s, doubled each time"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_told_to_stop_it_leaves_nothing(folder: Path, served: tuple[Path, Services], sign: signal.Signals) -> None:
    with a_plane(folder, served[1], "web", "family") as plane:
        pids = [plane.pid("web"), plane.pid("family")]
        pids += [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]
        plane.supervisor.send_signal(sign)
        assert plane.supervisor.wait(20) == 0
        assert gone(*pids)
        assert not state.path(home=plane.home).exists()


def test_told_twice_it_kills_what_will_not_stop(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "stubborn") as plane:
        log = plane.home / "logs" / "stubborn.log"
        assert os_processes.wait_until(lambda: "deaf" in log.read_text(), within_s=5)
        pid = plane.pid("stubborn")
        plane.supervisor.terminate()
        assert os_processes.wait_until(lambda: "stopping" in plane.output(), within_s=5)

        def stopped_when_told_again() -> bool:
            plane.supervisor.terminate()
            return plane.supervisor.poll() is not None

        assert os_processes.wait_until(stopped_when_told_again, within_s=10, every_s=0.3)
        assert plane.supervisor.returncode == 0
        assert gone(pid)


def test_killed_itself_its_processes_end_and_down_finds_the_rest(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "web", "family") as plane:
        web, orphan = plane.pid("web"), child_of(plane.pid("family"))
        plane.supervisor.kill()
        plane.supervisor.wait(5)
        assert sys.platform != "linux" or gone(web), "told by the kernel that its parent died"
        assert os_processes.birth_mark(pid=orphan) is not None, "the kernel tells children only, not theirs"
        done = supervisor("down", home=plane.home)
        assert (done.returncode, done.stdout.split()[0]) == (0, "stopped")
        assert gone(web, orphan)
        again = supervisor("down", home=plane.home)
        assert (again.returncode, again.stdout.split()[0]) == (0, "nothing")


def test_after_a_killed_one_the_next_up_begins_clean(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "family") as plane:
        orphan = child_of(plane.pid("family"))
        plane.supervisor.kill()
        plane.supervisor.wait(5)
        plane.start()
        assert gone(orphan)
        assert "that an earlier one had left" in plane.output()


def test_a_second_up_on_the_same_home_is_refused(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "told") as plane:
        refused = supervisor("up", home=plane.home)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert str(plane.supervisor.pid) in refused.stderr
        assert plane.is_ready()


def test_two_planes_run_side_by_side(folder: Path, served: tuple[Path, Services]) -> None:
    with a_plane(folder, served[1], "web") as one, a_plane(folder, served[1], "web") as other:
        assert one.url != other.url
        one.stop()
        with urllib.request.urlopen(f"{other.url}/readyz", timeout=5) as answer:  # noqa: S310 - loopback
            assert answer.read() == b"ready"


@pytest.mark.parametrize(("variable", "attribute"), [("OPS_PORT", "port"), ("OPS_FLOWER_PORT", "flower_port")])
def test_a_taken_port_is_one_line_that_names_it(home: Path, variable: str, attribute: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"port": random_port(), "flower_port": random_port(), attribute: taken.getsockname()[1]}
        plane = Plane(home=home / "home", **ports)
        plane.launch()
        assert plane.supervisor.wait(30) == 2
        assert plane.output().count("\n") == 1
        assert variable in plane.output()


def test_a_plane_that_cannot_start_says_why(home: Path, tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("web python\n")
    with pytest.raises(PlaneError, match=r"code 2: .*Procfile, line 1"):
        Plane(home=home / "home", port=random_port(), flower_port=random_port(), procfile=tmp_path / "Procfile").start()


def test_a_plane_ends_with_the_program_that_started_it(folder: Path, served: tuple[Path, Services]) -> None:
    code = f"""
import json, pathlib, sys, os, signal
from opsplatform.plane import Plane
home, port, flower_port = sys.argv[1:]
plane = Plane(home=pathlib.Path(home), port=int(port), flower_port=int(flower_port), only=["told"],
              procfile=pathlib.Path({str(folder / "Procfile")!r}), set_up=False)
plane.start()
print(json.dumps([plane.supervisor.pid, plane.pid("told")]), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    variables = {"DATABASE_URL": served[1].database_url or "", "BROKER_URL": served[1].broker_url or ""}
    with a_home() as home:
        arguments = [str(home / "home"), str(random_port()), str(random_port())]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=CHECKOUT,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL
        assert gone(*json.loads(done.stdout))


def test_its_own_servers_are_started_revived_and_stopped(folder: Path, home: Path) -> None:
    plane = Plane(
        home=home / "home",
        port=random_port(),
        flower_port=random_port(),
        variables={"DATABASE_URL": "", "BROKER_URL": ""},
        only=["web"],
        procfile=folder / "Procfile",
        set_up=False,
    )

    def server(name: str) -> int:
        written = json.loads((plane.home / "run" / "services.json").read_text())
        return int(written[name]["pid"]) if written.get(name) else 0

    with plane:
        assert plane.addresses["database"].startswith("postgresql://ops:")
        before = {name: server(name) for name in ("postgres", "valkey")}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        for name, pid in before.items():
            assert os_processes.wait_until(lambda name=name, pid=pid: server(name) not in {0, pid}, within_s=15), name  # type: ignore[misc]
        pids = [server("postgres"), server("valkey")]
    assert gone(*pids)


class TestReset:
    def test_where_nobody_can_be_asked_it_refuses(self, home: Path) -> None:
        (home / "data").mkdir()
        refused = supervisor("reset", home=home)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert (home / "data").exists()

    def test_it_erases_a_home(self, folder: Path, served: tuple[Path, Services]) -> None:
        with a_plane(folder, served[1], "told") as plane:
            assert supervisor("reset --yes", home=plane.home).returncode == 0
            assert not plane.home.exists()
            assert plane.supervisor.wait(5) == 0

    def test_it_erases_nothing_that_is_not_ours(self, home: Path) -> None:
        (home / "letters").mkdir()
        refused = supervisor("reset --yes", home=home)
        assert refused.returncode == 2
        assert (home / "letters").exists()


class TestProcfile:
    def test_words_are_split_and_variables_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "Procfile").write_text("# a comment\n\nweb: serve --name 'two words' --port=$PORT ${HOST}\n")
        (line,) = procfile.read(path=tmp_path / "Procfile")
        words = line.arguments(variables={"PORT": "80", "HOST": "here; rm"})
        assert words == ["serve", "--name", "two words", "--port=80", "here; rm"]

    @pytest.mark.parametrize("text", ["web serve", "we b: serve", ": serve", "web:", "a: b\na: c"])
    def test_a_bad_line_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "Procfile").write_text(text)
        with pytest.raises(procfile.BadProcfileError, match=r"line \d"):
            procfile.read(path=tmp_path / "Procfile")

    def test_only_the_named_ones_start(self, tmp_path: Path) -> None:
        (tmp_path / "Procfile").write_text("a: x\nb: y\nc: z\n")
        assert [line.name for line in procfile.read(path=tmp_path / "Procfile", only="c, a")] == ["a", "c"]
        with pytest.raises(procfile.BadProcfileError, match="d"):
            procfile.read(path=tmp_path / "Procfile", only="d")

    def test_a_variable_that_is_not_set_is_named(self) -> None:
        line = procfile.Line(name="web", command="serve $NOWHERE")
        with pytest.raises(procfile.BadProcfileError, match="NOWHERE"):
            line.arguments(variables={})
