"""The Celery app: how messages travel, which queues there are, which tasks stand for which job types.

The broker carries hints. Every figure here follows from that: early acks (PostgreSQL's leases recover what a killed
worker held, redelivery would only double it), no results, no countdowns, and time-outs short enough that a broker that
is gone costs the one who asks two seconds at most.
"""

from __future__ import annotations

import os
from typing import Any

import django
from celery import Celery, signals
from celery.schedules import crontab
from celery.signals import setup_logging
from django.apps import apps
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsplatform.settings")
os.environ.setdefault("OPS_DATABASE_ROLE", "control")
if not apps.ready:  # the `celery` command came here first; `manage.py` has done this already
    django.setup()

from django.conf import settings

from apps.jobs.types import REGISTRY, JobType
from opsplatform import logging
from workers import canary, celery_patches, execute, ticks, worker
from workers.heart import Heart

CONTROL_QUEUE = "ops.control"
TICK_EVERY_S = 15

celery_patches.install()
app = Celery("opsplatform")
app.conf.update(
    broker_url=settings.ENVIRONMENT.broker_url,
    broker_transport_options={
        "socket_timeout": 2,
        "socket_connect_timeout": 1,
        "max_retries": 0,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "global_keyprefix": "po:",
    },
    task_publish_retry=False,
    broker_pool_acquire_timeout=2,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_channel_error_retry=True,
    task_ignore_result=True,
    result_backend=None,
    result_expires=None,
    task_acks_late=False,
    task_reject_on_worker_lost=False,
    worker_disable_prefetch=True,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_proc_alive_timeout=30,
    worker_hijack_root_logger=False,
    worker_send_task_events=True,
    task_send_sent_event=False,
    task_serializer="json",
    accept_content=["json"],
    event_serializer="json",
    task_create_missing_queues=False,
    task_default_queue=CONTROL_QUEUE,
    task_queues=[Queue("ops.default"), Queue("ops.batch"), Queue(CONTROL_QUEUE)],
    timezone="UTC",
    beat_scheduler="django_celery_beat.schedulers:DatabaseScheduler",
    beat_max_loop_interval=5,
    beat_schedule={
        "heartbeat": {
            "task": "ops.control.heartbeat",
            "schedule": TICK_EVERY_S,
            "options": {"queue": CONTROL_QUEUE, "expires": TICK_EVERY_S},
        },
        # Once a day; where the plane was down then, beat makes up for it as it starts.
        "retention": {
            "task": "ops.control.retention",
            "schedule": crontab(hour="3", minute="17"),
            "options": {"queue": CONTROL_QUEUE, "expires": 3600},
        },
    },
)


def register(job_type: JobType) -> None:
    """Make the task that stands for a job type, under its name, so that Flower reads like the catalogue."""

    @app.task(name=job_type.name, bind=True, ignore_result=True, shared=False)
    def task(self: Any, *args: Any) -> str:
        return execute.execute(task=self.name, args=list(args))


@setup_logging.connect(weak=False)
def configure_logging(**_: Any) -> None:
    """Keep our own logging: Celery leaves it alone when somebody listens here."""
    logging.configure(process=settings.ENVIRONMENT.process)


@signals.beat_init.connect(weak=False)
def beat_beats(**_: Any) -> None:
    """Let the beat process show that it lives."""
    heart = Heart(role="beat", name=settings.ENVIRONMENT.process)
    heart.register()
    heart.start()


for each in REGISTRY:
    register(each)
app.task(name=canary.TASK, ignore_result=True, shared=False)(canary.take)
app.task(name="ops.control.heartbeat", ignore_result=True, shared=False)(ticks.heartbeat)
app.task(name="ops.control.retention", ignore_result=True, shared=False)(ticks.retention)
worker.install()
