"""A thousand random tamperings by PostgreSQL's superuser, each found and named, and nothing found where none was."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection, transaction

from apps.evidence import keys
from apps.evidence.findings import Finding
from apps.evidence.heads import Heads
from apps.evidence.logs import Log
from apps.evidence.verification import verify
from apps.tenancy.context import across_tenants
from opsplatform import embedded
from opsplatform.settings.environment import database_parameters
from tests.integration.conftest import Control
from tests.support.tampering import HARMS, Scene, found
from tests.support.work import admitted, submitted
from workers.sealer import Sealer

TAMPERINGS = 1000
SEED = 6962
TENANTS = ("acme", "globex")
STEPS = (1, 2, 1, 5, 3, 1, 8, 2)


@pytest.fixture
def logs(done: Callable[..., str], control: Control, heads: Heads) -> list[Log]:
    """Two logs, grown by uneven steps, with something of each that waits for its seal."""
    sealer = Sealer(heads=heads)
    for turn, step in enumerate(STEPS):
        for place in range(step):
            for tenant in TENANTS:
                caller = f"module-{turn}-{place}"  # each refusal has a record of its own
                admitted(tenant=tenant) if place % 2 else submitted("kpi.refresh", tenant=tenant, submitted_by=caller)
        with control():
            sealer.step()
    for tenant in TENANTS:
        done(tenant)
    return [Log(tenant, "local") for tenant in TENANTS]


@pytest.fixture
def as_superuser(services: embedded.Services, db: None) -> Iterator[None]:
    """Django's own connection as one that no wall holds."""
    assert services.superuser_url is not None
    url = services.superuser_url.rsplit("/", 1)[0] + "/ops"
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(database_parameters(url=url, role="login"))
    try:
        with across_tenants():
            yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


def findings(heads: Heads, logs: list[Log]) -> list[Finding]:
    """Examine the logs as they stand, as one does who comes anew."""
    ring, kept = keys.ring(), Heads(heads._folder)
    return [finding for report in verify(ring=ring, heads=kept, only=logs) for finding in report.findings]


@pytest.mark.timeout(170)
def test_a_thousand_random_tamperings_are_found_and_named(
    logs: list[Log], heads: Heads, as_superuser: None, tmp_path: Path
) -> None:
    dice = random.Random(SEED)  # noqa: S311 - chosen at random, and to be had again
    sizes = [sum(STEPS[: place + 1]) for place in range(len(STEPS))]
    done: Counter[str] = Counter()
    missed: list[str] = []
    with transaction.atomic():
        assert findings(heads, logs) == [], "what nobody touched is whole"
        for turn in range(TAMPERINGS):
            harm = HARMS[turn % len(HARMS)]
            scene = Scene(log=dice.choice(logs), dice=dice, size=sizes[-1], sizes=sizes)
            point = transaction.savepoint()
            harm(scene)
            said = findings(heads, logs)
            transaction.savepoint_rollback(point)
            done[harm.__name__] += 1
            if not found(scene, said):
                missed.append(
                    f"{turn} {harm.__name__}: {sorted(map(str, scene.expected))}, told: {[str(s) for s in said]}"
                )
        assert findings(heads, logs) == []
    assert missed == []
    assert sum(done.values()) == TAMPERINGS
    assert len(done) == len(HARMS)
