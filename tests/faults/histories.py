"""Histories: short random sequences of work and harm, made from a seed, played on a real plane.

A history asks nothing on its way: all promises are asked at the end, when the plane has come to rest. The same seed
makes the same commands; what the machine makes of their timing is its own, which is the point.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import psutil
import redis

from opsplatform import embedded
from opsplatform.plane import Plane, PlaneError
from tests.support.client import Caller, Truth, wait_for

WORKERS = ("worker-default", "worker-batch")
LOOPS = (
    "scheduler",
    "relay",
    "sealer",
    "emitter",
    "sink",
    "submitter",
    "reactor",
    "clerk",
    "webhooks",
    "watcher",
    "web",
    "beat",
    "worker-control",
)
COMMANDS = {
    "submit": 12,
    "burst": 4,
    "kill_child": 3,
    "kill_worker": 1,
    "stop_worker": 1,
    "freeze_worker": 1,
    "flush_broker": 2,
    "bounce_broker": 1,
    "bounce_postgres": 1,
    "kill_loop": 2,
    "rest": 3,
}


@dataclass
class Player:
    """Plays histories on a plane and remembers what it accepted, and what was done to it."""

    plane: Plane
    callers: dict[str, Caller]
    truth: Truth
    accepted: dict[str, str] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def play(self, *, seed: int, commands: int) -> list[str]:
        """Play the history of `seed`; return its commands."""
        dice = random.Random(seed)  # noqa: S311 - a test's dice
        names = dice.choices(list(COMMANDS), weights=list(COMMANDS.values()), k=commands)
        for name in names:
            self.done[name] += 1
            with contextlib.suppress(PlaneError, psutil.NoSuchProcess, ProcessLookupError):
                getattr(self, name)(dice)  # what is being restarted just now cannot be hurt twice
        return names

    def submit(self, dice: random.Random) -> None:
        """Submit a handful of jobs; what an outage refuses was not accepted."""
        for _ in range(dice.randint(1, 8)):
            tenant = dice.choice(sorted(self.callers))
            body = {
                "type": (kind := dice.choice(["ops.noop", "ops.sleep", "ops.fail"])),
                "params": {
                    "ops.noop": {},
                    "ops.sleep": {"seconds": round(dice.uniform(0, 0.6), 2)},
                    "ops.fail": {"times": dice.randint(0, 2)},
                }[kind],
                "environment": dice.choice(["default", "default", "batch"]),
                "priority": dice.choice(["critical", "normal", "bulk"]),
                "concurrency_key": dice.choice([None, None, None, "one", "two"]),
            }
            with contextlib.suppress(httpx.TransportError):
                answer = self.callers[tenant].request("POST", "/operations/jobs", json=body)
                assert answer.status_code in {202, 503}, answer.text
                if answer.status_code == 202:
                    self.accepted[answer.json()["job_id"]] = tenant

    def burst(self, dice: random.Random) -> None:
        """Submit many short jobs at once, which then travel in bundles."""
        tenant = dice.choice(sorted(self.callers))
        job = {"type": "ops.noop", "params": {}, "environment": dice.choice(["default", "batch"])}
        with contextlib.suppress(httpx.TransportError):
            answer = self.callers[tenant].request(
                "POST", "/operations/jobs/batch", json={"jobs": [job] * dice.randint(20, 80)}
            )
            assert answer.status_code in {202, 503}, answer.text
            if answer.status_code == 202:
                for result in answer.json()["results"]:
                    assert result["status"] in {202, 429}, result
                    if result["status"] == 202:
                        self.accepted[result["job_id"]] = tenant

    def kill_child(self, dice: random.Random) -> None:
        """Kill a process that runs jobs."""
        children = psutil.Process(self.plane.pid(dice.choice(WORKERS))).children()
        if children:
            dice.choice(children).kill()

    def kill_worker(self, dice: random.Random) -> None:
        """Kill a whole worker, as a dead host would."""
        worker = psutil.Process(self.plane.pid(dice.choice(WORKERS)))
        for process in [*worker.children(recursive=True), worker]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def stop_worker(self, dice: random.Random) -> None:
        """Tell a worker to stop, as a deploy does."""
        os.kill(self.plane.pid(dice.choice(WORKERS)), signal.SIGTERM)

    def freeze_worker(self, dice: random.Random) -> None:
        """Stop a worker's processes for a moment."""
        worker = psutil.Process(self.plane.pid(dice.choice(WORKERS)))
        tree = [worker, *worker.children(recursive=True)]
        _signal(tree, signal.SIGSTOP)
        threading.Event().wait(dice.uniform(0.2, 1.5))
        _signal(tree, signal.SIGCONT)

    def flush_broker(self, dice: random.Random) -> None:
        """Empty the broker."""
        found = embedded.find(home=self.plane.home)
        if found is not None and found.broker_url is not None:
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(found.broker_url) as broker:
                broker.flushall()

    def bounce_broker(self, dice: random.Random) -> None:
        """Take the broker away for a moment."""
        embedded.stop_valkey(home=self.plane.home)
        threading.Event().wait(dice.uniform(0, 1))
        embedded.start_valkey(home=self.plane.home)

    def bounce_postgres(self, dice: random.Random) -> None:
        """Restart PostgreSQL, gently or by force."""
        embedded.restart_postgres(home=self.plane.home, mode=dice.choice(["fast", "immediate"]))

    def kill_loop(self, dice: random.Random) -> None:
        """Kill one of the other processes."""
        os.kill(self.plane.pid(dice.choice(LOOPS)), signal.SIGKILL)

    def rest(self, dice: random.Random) -> None:
        """Let the plane do something."""
        threading.Event().wait(dice.uniform(0, 0.5))

    def settle(self, *, within_s: float) -> None:
        """Wait until all that was accepted is over."""
        wait_for(lambda: not self.open_jobs(), what="all accepted jobs over", within_s=within_s)

    def open_jobs(self) -> list[str]:
        """Return the accepted jobs that are not over, as `id status`; all of them while the database is away."""
        try:
            rows = self.truth.rows("SELECT job_id::text, status, outcome FROM jobs")
        except Exception as error:  # noqa: BLE001 - a database that restarts refuses in many ways
            return [f"the database is away: {type(error).__name__}"]
        over = {row["job_id"] for row in rows if row["outcome"] is not None}
        status = {row["job_id"]: row["status"] for row in rows}
        return [f"{job_id} {status.get(job_id, 'LOST')}" for job_id in self.accepted if job_id not in over]

    def wrong_ends(self) -> list[str]:
        """Return the jobs that ended otherwise than they may: succeeded, or failed with every attempt lost or spent."""
        rows = self.truth.rows(
            "SELECT job_id::text, type, outcome, reason_code, attempt, max_attempts FROM jobs"
            " WHERE job_id = ANY (%s::uuid[])",
            list(self.accepted),
        )
        return [
            str(row)
            for row in rows
            if row["outcome"] != "succeeded"
            and not (row["outcome"] == "failed" and row["attempt"] == row["max_attempts"])
        ]


@contextlib.contextmanager
def player(plane: Plane, *, truth: Truth, calling: Callable[..., Caller]) -> Iterator[Player]:
    """Yield a player with a caller for each of three tenants."""
    yield Player(plane=plane, callers={name: calling(name) for name in ("acme", "globex", "sandbox")}, truth=truth)


def _signal(tree: list[psutil.Process], number: signal.Signals) -> None:
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
