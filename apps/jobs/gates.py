"""Why a job does not run: every gate that may hold it back, as a table. Decisions only: values in, values out.

Each line of `GATES` is a gate: its name, a function of what is known that says whether it is shut and who holds it, and
what clears it. They are asked in order and all that are shut are told. A gate names jobs of the asking tenant's own;
others are only counted, and never named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from apps.jobs.bundling import kept_by_long_jobs
from apps.jobs.lifecycle import OUTCOMES

MOST_HOLDERS = 10
NEEDS_A_SLOT = frozenset({"queued"})


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A held slot: `job_id` only of the asking tenant's own jobs."""

    environment: str
    type: str
    job_id: str | None = None
    concurrency_key: str | None = None

    @property
    def own(self) -> bool:
        """Say whether it is the asking tenant's."""
        return self.job_id is not None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a job and its surroundings as the question is asked; times in RFC 3339."""

    status: str
    type: str
    environment: str
    concurrency_key: str | None = None
    outcome: str | None = None
    reason_code: str | None = None
    reason: str | None = None
    refused_by: str | None = None
    run_at: str | None = None
    due_at: str | None = None
    cancel_requested: bool = False
    leases: Sequence[Lease] = ()
    slots: int = 0
    reserved: int = 0
    children: int = 0
    short_types: Collection[str] | None = None
    paused: Sequence[Mapping[str, Any]] = ()
    broker_away_since: str | None = None
    shed_since: str | None = None
    max_running: int | None = None
    type_running: int | None = None
    type_running_per_tenant: int | None = None
    type_installed: bool = True
    rate: str | None = None
    tokens: int | None = None
    token_in_s: float | None = None
    tenant_rate: str | None = None
    tenant_tokens: int | None = None
    tenant_token_in_s: float | None = None
    needs: Sequence[Mapping[str, str]] = ()
    children_open: int = 0
    scheduler_alive: bool = True
    points_away_since: Mapping[str, str] = field(default_factory=dict)
    decision_awaited_since: str | None = None

    def here(self) -> list[Lease]:
        """Return the leases of the job's own environment."""
        return [lease for lease in self.leases if lease.environment == self.environment]

    def long(self) -> list[Lease]:
        """Return those of `here` that hold a worker process until they end."""
        return [lease for lease in self.here() if lease.type not in (self.short_types or ())]

    def kept_by(self) -> str | None:
        """Return the gate by which long jobs keep the worker processes from it; None too where they were not noted."""
        if self.short_types is None or not self.children:
            return None
        return kept_by_long_jobs(
            long=["its" if lease.own else "another's" for lease in self.long()],
            children=self.children,
            reserved=self.reserved,
            tenant_id="its",
            is_long=self.type not in self.short_types,
        )


class Shut(NamedTuple):
    """A gate that holds the job: in words, by whom, and what clears it. Not `dated`: nobody can say when it opens."""

    says: str
    clears: str
    held_by: list[dict[str, str]]
    others: int = 0
    until: str | None = None
    dated: bool = True


class Gate(NamedTuple):
    """A gate: `asks` returns how it is shut, or None; `states` are those in which it matters (empty: any)."""

    name: str
    states: frozenset[str]
    asks: Callable[[Known], Shut | None]


def _held(leases: Sequence[Lease]) -> tuple[list[dict[str, str]], int]:
    own = [{"job_id": str(lease.job_id), "type": lease.type} for lease in leases if lease.own]
    return own[:MOST_HOLDERS], len(leases) - min(len(own), MOST_HOLDERS)


def _ended(known: Known) -> Shut | None:
    if known.outcome is None:
        return None
    if known.outcome == "rejected":
        who = known.refused_by or "a decision point"
        return Shut(f"it was refused by {who}: {known.reason or known.reason_code}", "a submission that is allowed", [])
    if known.outcome == "succeeded":
        return Shut("it succeeded", "nothing: it is over", [])
    again = "a retry by hand" if known.outcome in ("failed", "timed_out", "cancelled") else "nothing: it is over"
    because = known.reason or known.reason_code
    return Shut(f"it ended as {known.outcome}{f': {because}' if because else ''}", again, [])


def _running(known: Known) -> Shut | None:
    if known.cancel_requested:
        return Shut("it runs, and was asked to stop", "its stop, or its kill after the grace", [])
    return Shut("it runs", "nothing: it has its slot", [])


def _dispatched(_: Known) -> Shut:
    return Shut("it has its slot, and its message is under way", "a worker's claim, or the recall after 10 s", [])


def _scheduled(known: Known) -> Shut:
    return Shut("its time has not come", "the clock", [], until=known.due_at or known.run_at)


def _retrying(known: Known) -> Shut:
    return Shut("it failed, and pauses before its next attempt", "the clock", [], until=known.due_at)


def _dependencies(known: Known) -> Shut:
    held_by = [dict(each) for each in known.needs[:MOST_HOLDERS]]
    return Shut("it depends on jobs that are not over", "their end", held_by, len(known.needs) - len(held_by))


def _children(known: Known) -> Shut:
    return Shut(
        f"it waits for {known.children_open} of its own jobs", "their end", [dict(each) for each in known.needs]
    )


def _paused(known: Known) -> Shut | None:
    if not known.paused:
        return None
    first = known.paused[0]
    until = first.get("until")
    says = f"paused: {first.get('reason') or 'no reason was given'}"
    return Shut(says, "a resume", [], until=until, dated=until is not None)


def _broker(known: Known) -> Shut | None:
    if known.broker_away_since is None:
        return None
    return Shut(f"the broker is away since {known.broker_away_since}", "its return", [], dated=False)


def _shed(known: Known) -> Shut | None:
    if known.shed_since is None:
        return None
    says = f"the plane is not well and holds its bulk band back since {known.shed_since}"
    return Shut(says, "its recovery", [], dated=False)


def _no_workers(known: Known) -> Shut | None:
    if known.children > 0:
        return None
    return Shut(f"no worker of environment {known.environment} is alive", "a worker's start", [], dated=False)


def _no_scheduler(known: Known) -> Shut | None:
    return None if known.scheduler_alive else Shut("no scheduler is alive", "its start", [], dated=False)


def _not_installed(known: Known) -> Shut | None:
    if known.type_installed:
        return None
    return Shut(f"no process knows the job type {known.type}", "its installation", [], dated=False)


def _environment(known: Known) -> Shut | None:
    here = known.here()
    if len(here) < known.slots:
        return None
    if not known.slots:
        return Shut(f"{known.environment} has no slots", "slots given to it", [], dated=False)
    own, others = _held(here)
    return Shut(f"all {known.slots} slots of {known.environment} are held", "the end of one of them", own, others)


def _reserved(known: Known) -> Shut | None:
    here = known.here()
    if len(here) >= known.slots or len(here) < known.slots - known.reserved or not any(each.own for each in here):
        return None
    own, _ = _held([each for each in here if each.own])
    return Shut("the last slots are kept for tenants that hold none", "the end of one of its tenant's jobs", own)


def _workers_busy(known: Known) -> Shut | None:
    if known.kept_by() != "workers_busy":
        return None
    own, others = _held(known.long())
    says = f"all {known.children} worker processes of {known.environment} are at long jobs"
    return Shut(says, "the end of one of them", own, others)


def _reserved_worker(known: Known) -> Shut | None:
    if known.kept_by() != "reserved_worker":
        return None
    long = known.long()
    own = [lease for lease in long if lease.own]
    processes = f"{known.children} worker processes of {known.environment}"
    kept = "the last are kept for tenants that hold none"
    if len(own) >= known.children - known.reserved:
        says = f"its tenant's long jobs hold {len(own)} of {processes}; {kept}"
        return Shut(says, "the end of one of its tenant's jobs", _held(own)[0])
    return Shut(f"{len(long)} of {processes} are at long jobs; {kept}", "the end of one of them", *_held(long))


def _tenant_limit(known: Known) -> Shut | None:
    own = [lease for lease in known.leases if lease.own]
    if known.max_running is None or len(own) < known.max_running:
        return None
    return Shut(f"its tenant holds {len(own)} of {known.max_running} slots", "the end of one of them", _held(own)[0])


def _type_limit(known: Known) -> Shut | None:
    of_type = [lease for lease in known.leases if lease.type == known.type]
    if known.type_running is None or len(of_type) < known.type_running:
        return None
    own, others = _held(of_type)
    return Shut(f"{len(of_type)} of {known.type_running} jobs of its type run", "the end of one of them", own, others)


def _type_limit_tenant(known: Known) -> Shut | None:
    own = [lease for lease in known.leases if lease.type == known.type and lease.own]
    most = known.type_running_per_tenant
    if most is None or len(own) < most:
        return None
    says = f"{len(own)} of {most} jobs of its type run for its tenant"
    return Shut(says, "the end of one of them", _held(own)[0])


def _key(known: Known) -> Shut | None:
    if known.concurrency_key is None:
        return None
    own = [lease for lease in known.leases if lease.own and lease.concurrency_key == known.concurrency_key]
    if not own:
        return None
    return Shut(f"concurrency key '{known.concurrency_key}' is in use", "the holder's end", _held(own)[0])


def _rate(known: Known) -> Shut | None:
    if known.tokens is None or known.tokens > 0:
        return None
    return _used_up(f"the rate {known.rate} of its type", token_in_s=known.token_in_s)


def _tenant_rate(known: Known) -> Shut | None:
    if known.tenant_tokens is None or known.tenant_tokens > 0:
        return None
    return _used_up(f"the rate {known.tenant_rate} of its tenant's plan", token_in_s=known.tenant_token_in_s)


def _used_up(what: str, *, token_in_s: float | None) -> Shut:
    soon = "" if token_in_s is None else f"; the next comes in {token_in_s:.1f} s"
    return Shut(f"{what} is used up{soon}", "the clock", [])


def _away(point: str) -> Callable[[Known], Shut | None]:
    def asks(known: Known) -> Shut | None:
        since = known.points_away_since.get(point)
        if since is None:
            return None
        says = f"{point.capitalize()}, whose decision is needed before it may run, is away since {since}"
        return Shut(says, "its return", [], dated=False)

    return asks


def _awaited(known: Known) -> Shut | None:
    if known.decision_awaited_since is None:
        return None
    says = f"a decision point was asked whether it may run, and has not answered since {known.decision_awaited_since}"
    return Shut(says, "its answer", [])


DEFERRED = frozenset({"deferred"})
QUEUED = NEEDS_A_SLOT | DEFERRED
GATES: tuple[Gate, ...] = (
    Gate("ended", frozenset({*(state.value for state in OUTCOMES), "pending_audit"}), _ended),
    Gate("running", frozenset({"running"}), _running),
    Gate("dispatched", frozenset({"dispatched"}), _dispatched),
    Gate("run_at", frozenset({"scheduled"}), _scheduled),
    Gate("retry_pause", frozenset({"retrying"}), _retrying),
    Gate("dependencies", frozenset({"blocked"}), _dependencies),
    Gate("children", frozenset({"waiting_children"}), _children),
    Gate("paused", QUEUED, _paused),
    Gate("broker_down", QUEUED, _broker),
    Gate("bulk_shed", QUEUED, _shed),
    Gate("no_workers", QUEUED, _no_workers),
    Gate("no_scheduler", QUEUED, _no_scheduler),
    Gate("type_not_installed", QUEUED, _not_installed),
    Gate("governance_away", QUEUED, _away("governance")),
    Gate("subscription_away", QUEUED, _away("subscription")),
    Gate("decision_awaited", QUEUED, _awaited),
    Gate("environment_full", QUEUED, _environment),
    Gate("reserved", QUEUED, _reserved),
    Gate("workers_busy", QUEUED, _workers_busy),
    Gate("reserved_worker", QUEUED, _reserved_worker),
    Gate("tenant_limit", QUEUED, _tenant_limit),
    Gate("type_limit", QUEUED, _type_limit),
    Gate("type_limit_tenant", QUEUED, _type_limit_tenant),
    Gate("key_held", QUEUED, _key),
    Gate("rate", QUEUED, _rate),
    Gate("tenant_rate", QUEUED, _tenant_rate),
)
TURN = Shut("nothing holds it: others of higher claim go first", "its turn", [])


def shut(known: Known) -> list[tuple[str, Shut]]:
    """Return every gate that holds the job, in the table's order; `turn` alone where it only waits its turn."""
    found = [
        (gate.name, how) for gate in GATES if known.status in gate.states and (how := gate.asks(known)) is not None
    ]
    return found or [("turn", TURN)]
