"""How gunicorn serves the API, console and admin: `gunicorn opsplatform.wsgi --config opsplatform/gunicorn.py`.

Two processes of eight threads for requests: a request waits on PostgreSQL most of its time, and two processes use two
cores. Sixteen more threads are for server-sent events, which hold nothing but their thread (apps/core/sse.py counts
them, so that requests always have theirs). Both are forked from a process that has loaded the application and holds no
connection. Reads the environment; removes a dead worker's metrics.
"""

import gc
import os
from typing import Any

_host = os.environ.get("OPS_HOST") or "127.0.0.1"
bind = f"{f'[{_host}]' if ':' in _host else _host}:{os.environ.get('OPS_PORT') or '8000'}"
worker_class = "gthread"
preload_app = True
workers = 2
streams = 16
streams_per_caller = 8
threads = 8 + streams
keepalive = 30
timeout = 60
graceful_timeout = 20
max_requests = 0
limit_request_line = 8190
accesslog = None  # a request is logged once, structured, by the middleware
errorlog = "-"
loglevel = "warning"
# One socket per user by default, which two planes side by side would fight over; nothing of ours uses it.
control_socket_disable = True

_hearts: list[Any] = []


def when_ready(_server: Any) -> None:
    """Load what the first request would, before there are workers, and keep the collector off their shared pages."""
    from django.urls import get_resolver  # noqa: PLC0415 - Django is set up only now

    _ = get_resolver().url_patterns
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Let each serving process show that it lives, and its streams know when it is told to stop."""
    from apps.core import sse  # noqa: PLC0415 - Django is set up only now
    from workers.heart import Heart  # noqa: PLC0415 - Django is set up only now

    sse.slots = sse.Slots(streams=streams, per_caller=streams_per_caller)
    sse.stop_when(lambda: not worker.alive)
    _hearts.append(Heart(role="web", name=os.environ.get("OPS_PROCESS") or "web"))
    _hearts[-1].start()


def worker_exit(_server: Any, _worker: Any) -> None:
    """Say goodbye."""
    for heart in _hearts:
        heart.stop()


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the live gauges of a worker that has ended, or they would be counted for ever."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import multiprocess  # noqa: PLC0415 - it reads the folder when imported

        multiprocess.mark_process_dead(worker.pid)
