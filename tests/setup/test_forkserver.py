"""The fork server: loops forked under a real supervisor, and what becomes of them when it, they or all are killed.

Their database was never set up and refuses them, which a loop survives: so it is enough to see them live.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from opsplatform import os_processes
from opsplatform.embedded import Services
from opsplatform.embedded.server import random_port
from opsplatform.plane import CHECKOUT, Plane
from opsplatform.supervisor import forkserver, procfile, state
from tests.setup.conftest import a_home

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="loops are forked on Linux only")

LOOPS = ("relay", "sealer", "clerk")


@pytest.fixture
def plane(served: tuple[Path, Services]) -> Iterator[Plane]:
    """Three loops of the real Procfile."""
    with a_home() as home:
        plane = Plane(
            home=home / "home",
            port=random_port(),
            flower_port=random_port(),
            variables={"DATABASE_URL": served[1].database_url or "", "BROKER_URL": served[1].broker_url or ""},
            only=LOOPS,
            set_up=False,
            ready_within_s=60,
        )
        plane.start()
        try:
            yield plane
        finally:
            plane.stop()
            assert state.leftovers(home=plane.home) == []


def server(plane: Plane) -> psutil.Process:
    return psutil.Process(plane.state()["forkserver"]["pid"])


def is_forked(pid: int) -> bool:
    """Whether a process was forked: what it was told as its program was started is what the server was told."""
    return psutil.Process(pid).environ()["OPS_PROCESS"] == forkserver.NAME


def turns(plane: Plane, name: str) -> bool:
    """Whether a loop has come to its first step, which its absent database refused: before, it heeds no signal."""
    log = plane.home / "logs" / f"{name}.log"
    return os_processes.wait_until(lambda: log.exists() and "database_away" in log.read_text(), within_s=30)


def lives_on(plane: Plane, *, without: int) -> bool:
    """Whether a server other than the one that was killed can fork."""
    told = plane.state()["forkserver"]["pid"]
    return told not in {None, without} and os_processes.birth_mark(pid=told) is not None


def test_every_loop_is_a_process_of_its_own(plane: Plane) -> None:
    assert server(plane).num_threads() == 1
    assert server(plane).net_connections() == []
    assert len({plane.pid(name) for name in LOOPS}) == len(LOOPS)
    for name in LOOPS:
        loop = psutil.Process(plane.pid(name))
        assert is_forked(loop.pid)
        assert loop.ppid() == plane.supervisor.pid
        assert os.getsid(loop.pid) == os.getpgid(loop.pid) == loop.pid
        assert " ".join(loop.cmdline()).split() == ["python", "manage.py", f"run_{name}"]
        assert turns(plane, name)
        lines = [json.loads(line) for line in (plane.home / "logs" / f"{name}.log").read_text().splitlines()]
        assert {(line["process"], line["pid"]) for line in lines} == {(name, loop.pid)}


def test_a_loop_that_is_killed_is_forked_again(plane: Plane) -> None:
    others = [plane.pid(name) for name in LOOPS[1:]]
    assert is_forked(plane.kill("relay"))
    assert "relay            was killed by SIGKILL" in plane.output()
    assert [plane.pid(name) for name in LOOPS[1:]] == others
    assert plane.processes()["relay"]["restarts"] == 1


def test_a_loop_ends_in_order_when_told_to(plane: Plane) -> None:
    pid = plane.pid("clerk")
    assert turns(plane, "clerk")
    psutil.Process(pid).terminate()
    assert os_processes.wait_until(lambda: plane.processes()["clerk"]["pid"] not in {None, pid}, within_s=30)
    assert "clerk            died with code 0" in plane.output()


def test_killed_the_server_takes_no_loop_with_it_and_comes_back(plane: Plane) -> None:
    before, loops = server(plane).pid, [plane.pid(name) for name in LOOPS]
    server(plane).kill()
    assert os_processes.wait_until(lambda: lives_on(plane, without=before), within_s=30)
    assert is_forked(plane.kill("relay", within_s=60))
    assert [plane.pid(name) for name in LOOPS[1:]] == loops[1:]


def test_a_server_that_does_not_answer_costs_a_loop_no_more_than_its_own_start(plane: Plane) -> None:
    before = server(plane)
    before.suspend()
    assert not is_forked(plane.kill("relay", within_s=60))
    ended = os_processes.wait_until(lambda: os_processes.birth_mark(pid=before.pid) is None, within_s=10)
    assert ended, "so that what it was asked for is not done later"
    assert os_processes.wait_until(lambda: lives_on(plane, without=before.pid), within_s=30)
    assert is_forked(plane.kill("sealer", within_s=60))


def test_killed_the_supervisor_takes_all_with_it(plane: Plane) -> None:
    pids = [server(plane).pid, *(plane.pid(name) for name in LOOPS)]
    plane.supervisor.kill()
    plane.supervisor.wait(5)
    assert os_processes.wait_until(
        lambda: all(os_processes.birth_mark(pid=pid) is None for pid in pids), within_s=20
    ), "told by the kernel that their parent died"


ASKING = """
import json, os, sys, time
from pathlib import Path
from opsplatform import os_processes
from opsplatform.supervisor import forkserver, procfile
os_processes.adopt_orphans()
folder, log = Path.cwd(), Path(sys.argv[1])
lines = [procfile.Line(name="clerk", command="python manage.py run_clerk")]
server = forkserver.ForkServer(line=forkserver.line_for(lines), variables=dict(os.environ), folder=folder, log=log)
server.start()
os_processes.wait_until(lambda: not server.loading, within_s=60)
told = {}
for role in ("control", "app"):
    variables = {**os.environ, "OPS_DATABASE_ROLE": role, "OPS_PROCESS": role}
    forked = server.fork(arguments=["env"] if role == "app" else ["python", "manage.py", "help", "run_clerk"],
                         variables=variables, folder=folder, log=log.with_name(role))
    told[role] = forked.wait()
server.kill()
print(json.dumps(told))
"""


def test_one_whose_surroundings_are_not_those_loaded_is_started_by_its_line(tmp_path: Path) -> None:
    variables = {**os.environ, "OPS_PROCESS": "forkserver", "OPS_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", ASKING, str(tmp_path / "log")],
        cwd=CHECKOUT,
        env=variables,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == {"control": 0, "app": 0}
    assert "usage: manage.py run_clerk" in (tmp_path / "control").read_text()
    assert "OPS_DATABASE_ROLE=app" in (tmp_path / "app").read_text().splitlines(), "`env` itself ran"


def test_all_of_the_procfile_is_forked_but_what_answers_requests() -> None:
    lines = procfile.read(path=CHECKOUT / "Procfile")
    assert {line.name for line in lines if forkserver.command_of(line) is None} == {"web", "sink"}
