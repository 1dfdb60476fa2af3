"""Somebody who runs migrations of a plane, through its API: a module that asks, and a person who approves."""

from __future__ import annotations

from typing import Any

from opsplatform.plane import Plane
from tests.support.client import Caller, wait_for
from tests.support.person import Person

STILL = {"succeeded", "reverted", "failed", "paused", "inconclusive"}


class Campaigns(Caller):
    """A platform module that may run migrations of every tenant; `operator`, a person, approves what it asks for."""

    def __init__(self, *, plane: Plane, subject: str = "release") -> None:
        super().__init__(
            url=plane.url,
            home=plane.home,
            tenants=["*"],
            scope="migrations:run migrations:read jobs:read",
            subject=subject,
        )
        self._plane = plane

    def ask(self, *, tenants: list[str], version: str = "1.5", **more: Any) -> str:
        """Ask for the migration of some tenants' shops; return its id."""
        body = {
            "tenant_id": tenants[0],
            "definition": "shop",
            "version_to": version,
            "targets": {"tenants": tenants},
            **more,
        }
        answer = self.request("POST", "/operations/migrate", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def begin(
        self, *, tenants: list[str], version: str = "1.5", people: tuple[str, ...] = ("operator",), **more: Any
    ) -> str:
        """Ask for a migration, and have people approve it once it is planned; return its id."""
        migration_id = self.ask(tenants=tenants, version=version, **more)
        self.until(migration_id, "awaiting_approval")
        self.approve(migration_id, people=people)
        return migration_id

    def approve(self, migration_id: str, *, people: tuple[str, ...] = ("operator",)) -> None:
        """Have people agree to a migration's plan."""
        for name in people:
            with Person(url=self._plane.url, home=self._plane.home, name=name) as person:
                answer = person.post(f"/operations/migrations/{migration_id}/approve", note="seen")
                assert answer.status_code == 202, answer.text

    def read(self, migration_id: str) -> dict[str, Any]:
        """Return a migration as the API shows it."""
        answer = self.request("GET", f"/operations/migrations/{migration_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def until(self, migration_id: str, *statuses: str, within_s: float = 90) -> dict[str, Any]:
        """Return a migration once it stands at one of `statuses`; fail at once where it stands still at another."""

        def there() -> dict[str, Any] | None:
            found = self.read(migration_id)
            if found["status"] in statuses:
                return found
            assert found["status"] not in {"succeeded", "reverted", "failed"}, f"{found['status']}: {found['reason']}"
            return None

        return wait_for(there, what=f"the migration is {' or '.join(statuses)}", within_s=within_s)

    def still(self, migration_id: str, *, within_s: float = 90) -> dict[str, Any]:
        """Return a migration once nothing of it moves by itself."""
        return self.until(migration_id, *STILL, within_s=within_s)

    def command(self, migration_id: str, what: str) -> None:
        """Ask something of a migration."""
        answer = self.request("POST", f"/operations/migrations/{migration_id}/{what}", json={"reason": "the test asks"})
        assert answer.status_code in {200, 202}, answer.text
