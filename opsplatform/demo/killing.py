"""The chapter in which a worker is killed (-9) in the middle of a job, and what became of that job."""

import contextlib
import os
import signal
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psutil

from opsplatform.demo import data
from opsplatform.demo.story import Stage
from opsplatform.demo.telling import NotTrueError

WORKER = "worker-default"
KNOWN_WITHIN_S, RUNNING_WITHIN_S = 20.0, 30.0
SAMPLE = ("SEA", "SFO", "JFK", "ANC", "HNL")
NOW = "SELECT status, fence, attempt, started_at, worker_pid FROM jobs WHERE job_id = %s"


def kill_a_worker(stage: Stage) -> str:
    """Kill the worker that runs a job, with all its processes; see the job succeed once. Return the job's id."""
    tell = stage.tell
    tell.chapter("A worker is killed in the middle of a job")
    sql = {
        "inputs": {"airports": "datasets/airports/data.parquet"},
        "sql": data.NEAREST_SQL,
        "output": "nearest-airport",
    }
    job_id = stage.submit(stage.acme, type="sql.transform", params=sql)
    tell.say(f"acme wants each airport's nearest other one: 11 million distances. Job {job_id}")
    tell.wait(
        lambda: _now(stage, job_id)["status"] == "running", for_what="waiting for a worker to take it", within_s=30
    )
    before = _now(stage, job_id)
    killed_at = stage.witness.clock()
    dead = _kill(stage, pid=before["worker_pid"])
    tell.true(f"kill -9 on {WORKER} and its whole tree, {dead} processes, while pid {before['worker_pid']} ran the job")
    tell.say(
        "Nobody said goodbye. The job stays the dead worker's until its lease has run out (15 s, swept every 2 s)."
    )
    _neighbour(stage)
    _known_lost(stage, job_id, killed_at=killed_at)
    again = _running_again(stage, job_id, killed_at=killed_at)
    job = stage.ended(stage.acme, job_id)
    tell.check(
        (job["attempt"], job["retries"]) == (2, 1) and again["fence"] > before["fence"],
        f"it succeeded on its second attempt, under fence {again['fence']}; the first had fence {before['fence']}",
        seen=job,
    )
    _right(stage, job)
    _once(stage, job_id)
    return job_id


def _now(stage: Stage, job_id: str) -> dict[str, Any]:
    (row,) = stage.witness.rows(NOW, job_id)
    return row


def _kill(stage: Stage, *, pid: int) -> int:
    """Kill the worker's parent, then its children, among them the one that runs the job; return how many."""
    parent = psutil.Process(stage.plane.pid(WORKER))
    tree = [parent.pid, *(child.pid for child in parent.children(recursive=True))]
    if pid not in tree:
        raise NotTrueError(f"the job should run in a process of {WORKER}: pid {pid} is not one of {tree}")
    for each in tree:
        with contextlib.suppress(ProcessLookupError):  # the parent's end may have taken it along
            os.kill(each, signal.SIGKILL)
    return len(tree)


def _neighbour(stage: Stage) -> None:
    """Others' work goes on, on the worker that the supervisor starts in the dead one's place."""
    job_id = stage.submit(stage.globex, type="ops.noop", params={})
    stage.ended(stage.globex, job_id, within_s=40, for_what="a worker starts in its place; globex has submitted a job")
    stage.tell.check(
        stage.plane.processes()[WORKER]["restarts"] >= 1,
        f"meanwhile: {WORKER} was started again (pid {stage.plane.pid(WORKER)}) and ran a job of globex's",
    )


def _known_lost(stage: Stage, job_id: str, *, killed_at: datetime) -> None:
    stage.tell.wait(
        lambda: _now(stage, job_id)["status"] != "running", for_what="the dead worker's lease runs out", within_s=40
    )
    (lost,) = stage.witness.rows(
        "SELECT ending, fence, finished_at FROM attempts WHERE job_id = %s ORDER BY fence LIMIT 1", job_id
    )
    after_s, fence, ending = (lost["finished_at"] - killed_at).total_seconds(), lost["fence"], lost["ending"]
    stage.tell.check(
        ending == "worker_lost" and after_s <= KNOWN_WITHIN_S,
        f"known as lost after {after_s:.1f} s (promised: {KNOWN_WITHIN_S:.0f}): fence {fence} ended as {ending}",
        seen=f"{ending}, {after_s:.1f} s",
    )


def _running_again(stage: Stage, job_id: str, *, killed_at: datetime) -> dict[str, Any]:
    now: dict[str, Any] = {}

    def again() -> bool:
        now.update(_now(stage, job_id))
        return bool(now["attempt"] > 1)

    stage.tell.wait(again, for_what="waiting for the second attempt", within_s=40)
    after_s = (now["started_at"] - killed_at).total_seconds()
    stage.tell.check(
        after_s <= RUNNING_WITHIN_S,
        f"running again after {after_s:.1f} s (promised: {RUNNING_WITHIN_S:.0f}; 2 s of it the type's own pause)",
        seen=f"{after_s:.1f} s",
    )
    return now


def _right(stage: Stage, job: Mapping[str, Any]) -> None:
    """What the second attempt made is whole and right."""
    rows, same = data.result(job)
    plane = {row["airport"]: (row["nearest"], row["km"]) for row in rows}
    alone = data.nearest(SAMPLE)
    right = all(
        plane.get(airport, ("", 0.0))[0] == other and abs(plane[airport][1] - km) < 0.15  # noqa: PLR2004 - tenths, rounded
        for airport, (other, km) in alone.items()
    )
    said = ", ".join(f"{airport} {other} {km} km" for airport, (other, km) in alone.items())
    stage.tell.check(
        right and same and len(rows) == len(data.rows("airports")),
        f"{len(rows)} airports, whole; five of them computed again in plain Python: {said}",
    )


def _once(stage: Stage, job_id: str) -> None:
    """Invariant 3, asked of the rows themselves."""
    number = stage.witness.number
    counts = (
        number("SELECT count(*) FROM attempts WHERE job_id = %s AND ending = 'succeeded'", job_id),
        number("SELECT count(*) FROM events WHERE subject = %s AND type = 'operations.job.completed'", job_id),
        number("SELECT count(*) FROM evidence_records WHERE subject_id = %s AND predicate = 'outcome'", job_id),
    )
    stage.tell.check(
        counts == (1, 1, 1),
        "the database has exactly one successful attempt of it, one completion event and one outcome record",
        seen=counts,
    )


def tell_timeline(stage: Stage, job_id: str) -> None:
    """Show the job's own story, as GET …/timeline tells it."""
    stage.tell.chapter("The timeline of the job that lost its worker")
    items = stage.acme.timeline(job_id)
    began = datetime.fromisoformat(items[0]["at"])
    rows = []
    for item in items:
        after_s = (datetime.fromisoformat(item["at"]) - began).total_seconds()
        rows.append((f"{after_s:+.3f} s", item["what"], item.get("fence", ""), item.get("attempt", ""), _detail(item)))
    stage.tell.table(("after", "what", "fence", "attempt", ""), rows, left=frozenset({1, 4}))
    story = [(item["what"], item.get("attempt")) for item in items if item["what"] not in {"decided", "dispatched"}]
    stage.tell.check(
        story
        == [("submitted", None), ("started", 1), ("worker_lost", 1), ("started", 2), ("succeeded", 2), ("ended", None)],
        "two attempts, one lost, one that succeeded, one end",
        seen=story,
    )


def _detail(item: Mapping[str, Any]) -> str:
    """Return in words what a timeline's item says beside its fence and attempt."""
    said = [item["error"]["message"]] if item.get("error") else []
    said += [f"by {item['by']}"] if "by" in item else []
    said += [f"{item['point']}: {item['reason_code']}"] if "point" in item else []
    said += [f"to be tried again at {item['next_attempt_at'][11:19]}"] if "next_attempt_at" in item else []
    said += [str(item["outcome"])] if "outcome" in item else []
    return ", ".join(said)
