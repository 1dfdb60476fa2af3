"""How gunicorn serves the built-in evidence sink: one process, a few threads, and an address that it writes down.

Bound to `OPS_SINK_BIND`, a free port of this machine unless that says otherwise; the emitter finds it by
`address.json` in the sink's folder.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from workers.sink import ready

bind = os.environ.get("OPS_SINK_BIND") or "127.0.0.1:0"
worker_class = "gthread"
workers = 1
threads = 4
keepalive = 60
timeout = 60
graceful_timeout = 5
accesslog = None
errorlog = "-"
loglevel = "warning"
control_socket_disable = True  # as for the API's


def when_ready(server: Any) -> None:
    """Write down where it listens, once it does."""
    home = Path(os.environ.get("OPS_HOME") or ".ops").expanduser().resolve()
    folder = Path(os.environ.get("OPS_SINK_HOME") or home / "sink").expanduser()
    host, port = server.LISTENERS[0].sock.getsockname()[:2]
    path = folder / "address.json"
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft.write_text(json.dumps({"url": f"http://{f'[{host}]' if ':' in host else host}:{port}/"}), encoding="utf-8")
    draft.replace(path)


def post_worker_init(_worker: Any) -> None:
    """Have the key made before the first request."""
    ready()
