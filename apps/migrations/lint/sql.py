"""What PostgreSQL's own parse tree says of each text of SQL: whether it can run as the definition says, and may."""

from __future__ import annotations

from collections.abc import Iterator

from apps.migrations import effects
from apps.migrations.definition import Definition, Phase, Step
from apps.migrations.effects import BOUNDS, BadSqlError, Effect, Fact, Reading
from apps.migrations.folders.problems import DOCUMENT
from apps.migrations.lint.findings import Finding, Level

_EVERYWHERE = {
    Effect.NAMES_SCHEMA: (
        "other-schema",
        "says {} itself: the runner sets the search path to the target's schema, and names without one are right",
    ),
    Effect.TIMES: ("sets-timeout", "says {} itself: lock_timeout_s and statement_timeout_s of the step are right"),
    Effect.REACHES: ("beyond-schema", "reaches beyond the target's schema: {}"),
    Effect.CONTROLS: (
        "transaction-control",
        "says {}: beginning and ending transactions is the runner's, with its ledger",
    ),
}
_BEFORE_CONTRACT = {
    Effect.DESTROYS: (
        "destroys-early",
        "takes away {}, which no revert brings back: that belongs to the phase contract",
    ),
    Effect.RENAMES: (
        "breaks-old-version",
        "renames {}, which the version before still asks for: add the new name, fill it, and drop the old in contract",
    ),
}


def findings(definition: Definition) -> Iterator[Finding]:
    """Yield what is wrong with each step's text, its revert, and the checks."""
    for step in definition.steps:
        if step.text is not None:
            yield from _Text(step.text, step=step.name, file=step.file).up(step)
        if step.revert_text is not None:
            yield from _Text(step.revert_text, step=step.name, file=step.revert_file).down(step)
    for check in definition.gates.checks:
        if check.text is not None:
            yield from _Text(check.text, step=None, file=check.file).asked()


class _Text:
    """One text under its rules."""

    def __init__(self, text: str, *, step: str | None, file: str | None) -> None:
        self.step, self.file = step, file or DOCUMENT
        self.problem: BadSqlError | None = None
        self.reading: Reading | None = None
        try:
            self.reading = effects.read(text)
        except BadSqlError as error:
            self.problem = error

    def finding(self, rule: str, message: str, *, line: int = 1, level: Level = Level.ERROR) -> Finding:
        return Finding(level=level, step=self.step, file=self.file, line=line, rule=rule, message=message)

    def up(self, step: Step) -> Iterator[Finding]:
        yield from self._anywhere()
        if self.reading is None:
            return
        if step.phase is Phase.VERIFY:
            yield from self._question(self.reading)
            return
        yield from self._transaction(self.reading, step)
        yield from self._batch(self.reading, step)
        if step.phase is not Phase.CONTRACT:
            yield from self._by_effect(self.reading, _BEFORE_CONTRACT)

    def down(self, step: Step) -> Iterator[Finding]:
        yield from self._anywhere()
        if self.reading is not None:
            yield from self._transaction(self.reading, step, needed=False)
            yield from self._bounds_without_batch(self.reading)

    def asked(self) -> Iterator[Finding]:
        yield from self._anywhere()
        if self.reading is not None:
            yield from self._question(self.reading)

    def _anywhere(self) -> Iterator[Finding]:
        if self.problem is not None:
            yield self.finding("sql-syntax", f"PostgreSQL would not read it: {self.problem}", line=self.problem.line)
            return
        assert self.reading is not None  # noqa: S101 - it is one or the other
        if not self.reading.lines and not self.reading.facts:
            yield self.finding("empty", "holds no statement")
        yield from self._by_effect(self.reading, _EVERYWHERE)
        for fact in self.reading.of(Effect.OPAQUE):
            message = f"{fact.what}: nobody can tell from here what it does; plain statements would be right"
            yield self.finding("opaque", message, line=fact.line, level=Level.WARNING)

    def _by_effect(self, reading: Reading, rules: dict[Effect, tuple[str, str]]) -> Iterator[Finding]:
        for fact in reading.of(*rules):
            rule, message = rules[fact.effect]
            yield self.finding(rule, message.format(fact.what), line=fact.line)

    def _question(self, reading: Reading) -> Iterator[Finding]:
        writing: list[Fact] = reading.of(Effect.WRITES)
        if writing:
            message = f"is a question, and writes ({writing[0].what}): it is asked in a read-only transaction"
            yield self.finding("verify-writes", message, line=writing[0].line)
        elif reading.lines and not reading.question:
            yield self.finding("verify-question", "one SELECT that answers one row of one boolean would be right")
        yield from self._bounds_without_batch(reading)

    def _transaction(self, reading: Reading, step: Step, *, needed: bool = True) -> Iterator[Finding]:
        alone = reading.of(Effect.STANDS_ALONE)
        if step.transaction:
            for fact in alone:
                message = f"{fact.what} cannot run in a transaction: say transaction: false"
                yield self.finding("needs-no-transaction", message, line=fact.line)
        elif len(reading.lines) > 1:
            message = "is more than one statement without a transaction: a step for each would be right"
            yield self.finding("untransacted-statements", message, line=reading.lines[1])
        elif reading.lines and not alone and needed:
            message = "could run in a transaction, and then would be done together with its entry in the ledger, or not"
            yield self.finding("needless-untransacted", message, line=reading.lines[0], level=Level.WARNING)

    def _batch(self, reading: Reading, step: Step) -> Iterator[Finding]:
        if step.batch is None:
            yield from self._bounds_without_batch(reading)
            for fact in reading.of(Effect.FILLS):
                message = (
                    f"{fact.what} in one transaction, whatever it holds: batch: {{…}} would go through it in parts"
                )
                yield self.finding("backfill-unbatched", message, line=fact.line, level=Level.WARNING)
            return
        if missing := [f"%({bound})s" for bound in BOUNDS if bound not in reading.bounds]:
            message = f"is a batch without {' and '.join(missing)}: each batch would change all rows"
            yield self.finding("batch-unbounded", message)
        if len(reading.lines) > 1:
            yield self.finding("batch-statements", "a batch is one statement", line=reading.lines[1])
        for part in (step.batch.table, step.batch.key):
            if part and part not in reading.mentions:
                yield self.finding(
                    "batch-elsewhere", f"is a batch of {step.batch.table}.{step.batch.key}, and never names {part}"
                )

    def _bounds_without_batch(self, reading: Reading) -> Iterator[Finding]:
        if reading.bounds:
            names = " and ".join(f"%({bound})s" for bound in BOUNDS if bound in reading.bounds)
            yield self.finding("bounds-without-batch", f"holds {names}, which only a step with batch is given")
