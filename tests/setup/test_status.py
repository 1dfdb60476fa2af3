"""`manage.py status`: what it tells of a plane that runs, and of one that does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

from opsplatform import os_processes
from opsplatform.embedded import Services
from opsplatform.embedded.server import random_port
from opsplatform.plane import Plane

CHECKOUT = Path(__file__).parents[2]


def status(*options: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", "status", *options],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "OPS_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_nothing_runs(home: Path) -> None:
    told = status("--json", home=home / "never")
    assert told.returncode == 3, told.stderr
    document = json.loads(told.stdout)
    assert (document["up"], document["processes"]) == (False, [])
    assert document["addresses"]["api"] == "http://127.0.0.1:8000/operations"
    assert not (home / "never").exists(), "asking makes nothing"
    assert "is not up" in status(home=home / "never").stdout


def test_a_plane_runs(tmp_path: Path, home: Path, served: tuple[Path, Services]) -> None:
    (tmp_path / "Procfile").write_text("worker-default: sleep 600\nrelay: sleep 600\n")
    variables = {"DATABASE_URL": served[1].database_url or "", "BROKER_URL": ""}
    plane = Plane(
        home=home / "home",
        port=random_port(),
        flower_port=random_port(),
        variables=variables,
        procfile=tmp_path / "Procfile",
        set_up=False,
    )
    with plane:
        told = status("--json", home=plane.home)  # from a terminal that knows OPS_HOME alone
        assert told.returncode == 0, told.stderr
        document = json.loads(told.stdout)
        assert document["up"]
        processes = {process["name"]: process for process in document["processes"]}
        assert set(processes) == {"supervisor", "worker-default", "relay", "valkey"}
        assert processes["worker-default"]["pid"] == plane.pid("worker-default")
        assert processes["worker-default"]["role"] == "worker"
        assert all(process["alive"] and process["up_since"] for process in processes.values())
        password = (served[1].database_url or "").split(":")[2].split("@")[0]
        assert password not in told.stdout, "a given server's password is not shown"
        assert "***" in document["addresses"]["database"]
        assert document["addresses"]["broker"].startswith("redis://:")
        assert "***" not in document["addresses"]["broker"], "an embedded server's address is whole"

        plane.supervisor.kill()
        plane.supervisor.wait(5)
        assert os_processes.wait_until(lambda: status("--json", home=plane.home).returncode == 3, within_s=10)
        plane.start()
