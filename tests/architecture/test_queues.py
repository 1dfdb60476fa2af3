"""Whatever is published has somebody who consumes it: queues of the app, the seeds, beat and the Procfile agree."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from apps.jobs.types import REGISTRY
from opsplatform import seeds, wiring
from opsplatform.supervisor import procfile

PROCFILE = Path(settings.BASE_DIR) / "Procfile"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The Celery app. Importing it sets a default in the environment, which other tests must not inherit."""
    monkeypatch.setenv("OPS_DATABASE_ROLE", settings.ENVIRONMENT.database_role)
    from opsplatform.celery import app as made  # noqa: PLC0415 - see above

    return made


def workers() -> dict[str, list[str]]:
    """Return worker name → queues it consumes, as the Procfile says."""
    lines = procfile.read(path=PROCFILE)
    commands = {line.name: shlex.split(line.command) for line in lines if " worker " in line.command}
    return {name: words[words.index("-Q") + 1].split(",") for name, words in commands.items()}


def test_each_queue_of_the_procfile_has_workers_of_its_own() -> None:
    queues = [queue for each in workers().values() for queue in each]
    assert len(queues) == len(set(queues)) == len(workers())


def test_every_queue_of_the_app_is_consumed(app: Any) -> None:
    declared = {queue.name for queue in app.conf.task_queues} | {app.conf.task_default_queue}
    assert declared == {queue for each in workers().values() for queue in each}


@pytest.mark.parametrize("name", seeds.ENVIRONMENTS)
def test_the_queue_of_every_seeded_environment_is_consumed(name: str) -> None:
    assert [seeds.ENVIRONMENTS[name]["queue"]] == workers()[f"worker-{name}"]


def test_control_work_shares_no_queue_with_jobs(app: Any) -> None:
    jobs = {environment["queue"] for environment in seeds.ENVIRONMENTS.values()}
    ticks = {entry["options"]["queue"] for entry in app.conf.beat_schedule.values()} | {app.conf.task_default_queue}
    assert not jobs & ticks


def test_every_job_type_has_a_task_of_its_name(app: Any) -> None:
    # Not those of tests, which may have come after the app was made.
    built_in = {each.name for each in REGISTRY if each.handler.__module__ in wiring.JOB_TYPES}
    assert built_in
    assert built_in <= set(app.tasks)


def test_every_tick_of_beat_is_a_task(app: Any) -> None:
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)
