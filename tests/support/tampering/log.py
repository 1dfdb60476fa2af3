"""A log as it is before the harm, and what an examination must say after it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from apps.evidence.findings import Finding, Kind
from apps.evidence.logs import Log

CHECKPOINT_COLUMNS = "checkpoint_id, tenant_id, region, start, size, root, note, peaks, created_at"
STRANGER = Ed25519PrivateKey.from_private_bytes(b"s" * 32)


class Named(NamedTuple):
    """A finding that names the harm: its kind, and the number it must give (None: it is of the log)."""

    kind: Kind
    number: int | None = None


@dataclass(kw_only=True)
class Scene:
    """A log as it is before the harm."""

    log: Log
    dice: random.Random
    size: int
    sizes: Sequence[int]
    expected: set[Named] = field(default_factory=set)

    def number(self) -> int:
        return self.dice.randrange(self.size)

    def run(self, statement: str, **values: Any) -> int:
        """Run raw SQL in which `{log}` selects the rows of this log; return how many rows it touched."""
        where = "tenant_id = %(tenant)s AND region = %(region)s"
        with connection.cursor() as cursor:
            named = {"tenant": self.log.tenant_id, "region": self.log.region}
            cursor.execute(statement.replace("{log}", where), named | values)
            return int(cursor.rowcount)

    def ask(self, question: str, **values: Any) -> list[tuple[Any, ...]]:
        where = "tenant_id = %(tenant)s AND region = %(region)s"
        with connection.cursor() as cursor:
            named = {"tenant": self.log.tenant_id, "region": self.log.region}
            cursor.execute(question.replace("{log}", where), named | values)
            return list(cursor.fetchall())

    def expect(self, *named: Named) -> None:
        self.expected |= set(named)

    def flipped(self, column: str, at: int) -> str:
        """Return the SQL that flips a bit of a column's byte."""
        return f"{column} = set_byte({column}, {at}, get_byte({column}, {at}) # {1 << self.dice.randrange(8)})"


def found(scene: Scene, findings: Sequence[Finding]) -> bool:
    """Return whether the findings name the harm."""
    said = {Named(each.kind, each.number) for each in findings if each.log == scene.log}
    return bool(said & scene.expected) or bool({Named(each.kind) for each in findings} & scene.expected)
