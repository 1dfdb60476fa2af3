"""Two hundred tenants' schemas and a million rows, migrated under writes: nobody waits two seconds for a lock.

`make soak` runs it: minutes long, and no figure of it is worth anything while the machine does something else.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.release import Campaigns
from tests.support.shop import Shop
from tests.support.tenants import names

TENANTS, ORDERS = 200, 5_000
WRITERS = 3
LONGEST_S = 2.0
WRITES = (
    "UPDATE orders SET net_cents = net_cents + 1 WHERE id = (SELECT id FROM orders ORDER BY random() LIMIT 1)",
    "INSERT INTO orders (net_cents, fresh) VALUES (100, true)",
)


class Writers:
    """Sessions of the module's own that write all the time, and how long each write took at most."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        self.longest_s = 0.0
        self.writes = 0
        self.errors: list[str] = []
        self.added = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Write until the context ends."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _write(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - a mix of writes, told from the next by its seed
        with psycopg.connect(self._shop.url, autocommit=True) as session:
            while not self._stop.is_set():
                schema = self._shop.schema(chance.choice(self._shop.tenants))
                statement = chance.choice(WRITES).replace("orders", f"{schema}.orders")
                began = time.monotonic()
                try:
                    session.execute(statement.encode())
                    self.added += statement.startswith("INSERT")
                except psycopg.Error as error:
                    self.errors.append(str(error))
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.writes += 1
                self._stop.wait(0.01)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_million_rows_of_two_hundred_tenants_are_migrated_under_writes(shop: Shop, campaigns: Campaigns) -> None:
    tenants = names(TENANTS)
    shop.open_for(tenants, orders=ORDERS)
    writers = Writers(shop)
    with writers.at_work():
        began = time.monotonic()
        waves = [{"count": 1}, {"percent": 10}, {"percent": 100}]
        found = campaigns.still(campaigns.begin(tenants=tenants, waves=waves), within_s=1500)
        took_s = time.monotonic() - began
    print(
        f"{TENANTS} schemas, {TENANTS * ORDERS:,} rows in {took_s:.0f} s; {writers.writes:,} writes meanwhile, "
        f"the longest {writers.longest_s * 1000:.0f} ms; planned {found['plan']['estimate']}"
    )
    assert found["status"] == "succeeded", found["reason"]
    assert writers.errors == []
    assert writers.writes > 1000, "they did write"
    assert writers.longest_s < LONGEST_S
    states = [shop.state(tenant) for tenant in tenants]
    assert {(version, has_total) for version, _, _, has_total in states} == {("1.5", True)}
    assert sum(count for _, count, _, _ in states) == TENANTS * ORDERS + writers.added
    unfilled = sum(
        shop.rows(tenant, "SELECT count(*) FROM orders WHERE total_cents IS NULL AND NOT fresh")[0][0]
        for tenant in tenants
    )
    assert unfilled == 0
