"""A decision point by somebody else: a small AuthZEN 1.0 server, written after the specification, not after the plane.

Run as a process of its own: `python -m tests.support.stranger PORT`. It knows nothing of the plane's code. How it
behaves is set by `PUT /behaviour`: a JSON object of `deny` (a list of tenants, job types or actions it refuses),
`status` (answered to every question), `raw` (a body to answer with), `hang_s`, `plain` (only {"decision": …}, as in the
specification's first example), `context` (merged into each answer's), `batches` (false: no evaluations endpoint),
`metadata` (served as the well-known document). `GET /behaviour` tells what was asked.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STATE: dict[str, Any] = {"asked": [], "authorizations": [], "requests": 0, "connections": 0}
BEHAVIOUR: dict[str, Any] = {}
GONE = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        STATE["connections"] += 1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def _say(self, status: int, body: Any, *, raw: bytes | None = None, **headers: str) -> None:
        text = json.dumps(body).encode() if raw is None else raw
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def do_PUT(self) -> None:
        BEHAVIOUR.clear()
        BEHAVIOUR.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        STATE.update(asked=[], authorizations=[], requests=0)
        self._say(200, {})

    def do_GET(self) -> None:
        if self.path == "/behaviour":
            self._say(200, STATE)
        elif self.path.startswith("/.well-known/authzen-configuration") and BEHAVIOUR.get("metadata"):
            self._say(200, BEHAVIOUR["metadata"])
        else:
            self._say(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        STATE["requests"] += 1
        STATE["authorizations"].append(self.headers.get("Authorization", ""))
        if BEHAVIOUR.get("hang_s"):
            GONE.wait(BEHAVIOUR["hang_s"])
        if BEHAVIOUR.get("location"):
            return self._say(302, {}, Location=BEHAVIOUR["location"])
        if BEHAVIOUR.get("raw") is not None:
            return self._say(200, None, raw=BEHAVIOUR["raw"].encode())
        if BEHAVIOUR.get("status"):
            return self._say(BEHAVIOUR["status"], {})
        if self.path.endswith("/access/v1/evaluation"):
            return self._say(200, decide(body))
        if self.path.endswith("/access/v1/evaluations") and BEHAVIOUR.get("batches", True):
            defaults = {name: value for name, value in body.items() if name != "evaluations"}
            return self._say(200, {"evaluations": [decide(defaults | each) for each in body["evaluations"]]})
        return self._say(404, {})


def decide(question: dict[str, Any]) -> dict[str, Any]:
    """Answer one evaluation: no to whom and what `deny` names."""
    STATE["asked"].append(question)
    resource = question["resource"]
    named = {resource["type"], resource["properties"]["tenant"], question["action"]["name"], resource["id"]}
    allowed = not named & set(BEHAVIOUR.get("deny", ()))
    if BEHAVIOUR.get("plain"):
        return {"decision": allowed}
    return {"decision": allowed, "context": {"id": "0", "reason_user": {"403": "no"}, **BEHAVIOUR.get("context", {})}}


def follow() -> None:
    """End when whoever started us does, even killed: its end of our standard input is closed then."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=follow, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
