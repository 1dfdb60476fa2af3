"""What this plane should consist of: the Procfile's processes, and the queues of its environments.

The Procfile is the list of parts wherever the plane is deployed; `OPS_ONLY` leaves some out, as it does for the
supervisor. Flower is for looking, and beats for nobody; the built-in sink stands in for an outside system, and the
emitter says whether it answers.
"""

from __future__ import annotations

import os

from django.conf import settings

from apps.health.operations.inventory import Inventory, Queue
from apps.jobs.models import Environment
from opsplatform.supervisor import procfile

SILENT = frozenset({"flower", "sink"})
CONTROL = Queue(pool="control", queue="ops.control", environment=None)


def inventory() -> Inventory:
    """Return what should be there now; a pool without a line in the Procfile is nobody's to expect."""
    lines = procfile.read(path=settings.BASE_DIR / "Procfile", only=os.environ.get("OPS_ONLY", ""))
    processes = [line.name for line in lines if line.name not in SILENT]
    pools = [
        Queue(pool=name, queue=queue, environment=name)
        for name, queue in Environment.objects.order_by("name").values_list("name", "queue")
    ]
    return Inventory(
        processes=processes, queues=[each for each in (*pools, CONTROL) if f"worker-{each.pool}" in processes]
    )
