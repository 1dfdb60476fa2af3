"""One attempt at a step in a process of its own, for a test to kill: `python -m tests.support.step_process <JSON>`.

What it says goes to its standard output, a line each: every word of progress, then how the attempt ended.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django


def main(params: dict[str, Any], *, fence: int, storage: Path) -> None:
    """Make the attempt."""
    from apps.jobs import context, harness  # noqa: PLC0415 - Django first
    from workers.catalog import migration_step  # noqa: PLC0415

    def told(self: context.Context, done: float, total: float | None = None, message: str | None = None) -> None:
        say({"done": done, "total": total, "message": message})
        before(self, done, total, message)

    before: Callable[..., None] = context.Context.progress
    context.Context.progress = told  # type: ignore[method-assign]  # a window for the test to look through
    result = harness.run(migration_step.step, params=params, fence=fence, storage=storage, tenant_id="acme")
    say({"outcome": result.outcome, "code": result.error.code if result.error else None})


def say(word: dict[str, Any]) -> None:
    """Write a line that a test reads at once."""
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    django.setup()
    asked = json.loads(sys.argv[1])
    main(asked["params"], fence=asked["fence"], storage=Path(asked["storage"]))
