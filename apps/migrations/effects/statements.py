"""What statements of one kind do: tables made and altered, indexes, drops, renames, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import postgast
from postgast import pg_query_pb2 as tree

from apps.migrations.effects.facts import Effect, Node, Notes, qualifier, strings

# What only reads. Everything else writes, if only to the catalogue.
READING = frozenset({"SelectStmt", "ExplainStmt", "VariableShowStmt", "VariableSetStmt", "TransactionStmt"})
REACHING = {
    "AlterDatabaseSetStmt": "ALTER DATABASE",
    "AlterDatabaseStmt": "ALTER DATABASE",
    "AlterExtensionStmt": "ALTER EXTENSION",
    "AlterObjectSchemaStmt": "SET SCHEMA",
    "AlterPublicationStmt": "ALTER PUBLICATION",
    "AlterRoleSetStmt": "ALTER ROLE",
    "AlterRoleStmt": "ALTER ROLE",
    "AlterSystemStmt": "ALTER SYSTEM",
    "CopyStmt": "COPY",
    "CreateEventTrigStmt": "CREATE EVENT TRIGGER",
    "CreateExtensionStmt": "CREATE EXTENSION",
    "CreatePublicationStmt": "CREATE PUBLICATION",
    "CreateRoleStmt": "CREATE ROLE",
    "CreateSchemaStmt": "CREATE SCHEMA",
    "CreateSubscriptionStmt": "CREATE SUBSCRIPTION",
    "CreateTableSpaceStmt": "CREATE TABLESPACE",
    "CreatedbStmt": "CREATE DATABASE",
    "DropOwnedStmt": "DROP OWNED",
    "DropRoleStmt": "DROP ROLE",
    "DropSubscriptionStmt": "DROP SUBSCRIPTION",
    "DropTableSpaceStmt": "DROP TABLESPACE",
    "DropdbStmt": "DROP DATABASE",
    "GrantRoleStmt": "GRANT of a role",
    "LoadStmt": "LOAD",
    "ReassignOwnedStmt": "REASSIGN OWNED",
}
_ALONE = frozenset({"AlterSystemStmt", "CreateSubscriptionStmt", "CreateTableSpaceStmt", "CreatedbStmt"}) | frozenset(
    {"DropSubscriptionStmt", "DropTableSpaceStmt", "DropdbStmt"}
)
# Defaults that are the same for every row, so that PostgreSQL keeps one instead of writing each row anew.
_STABLE = frozenset(
    {"now", "transaction_timestamp", "statement_timestamp", "current_setting", "to_date", "lower", "upper"}
)
_SERIAL = frozenset({"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"})
_REWRITING = {
    "AT_SetLogged": "SET LOGGED of {}",
    "AT_SetUnLogged": "SET UNLOGGED of {}",
    "AT_SetAccessMethod": "SET ACCESS METHOD of {}",
    "AT_SetTableSpace": "SET TABLESPACE of {}",
}
_LOST_WITH_IT = {"TABLE", "FOREIGN_TABLE", "MATVIEW", "SEQUENCE", "TYPE", "DOMAIN", "SCHEMA"}
_PART_OF_A_TABLE = {"TRIGGER", "POLICY", "RULE", "COLUMN", "TABCONSTRAINT"}
_NAMED_INSIDE_ONLY = {"INDEX", "TABCONSTRAINT", "TRIGGER", "POLICY", "RULE", "DOMCONSTRAINT"}

OF_KIND: dict[str, Callable[[Node, Notes], None]] = {}


def alone(node: Node) -> str | None:
    """Return the name of a statement that cannot run in a transaction, None of any other."""
    kind = type(node).__name__
    if kind in _ALONE:
        return REACHING[kind]
    if isinstance(node, tree.IndexStmt | tree.DropStmt) and node.concurrent:
        return "CREATE INDEX CONCURRENTLY" if isinstance(node, tree.IndexStmt) else "DROP INDEX CONCURRENTLY"
    if isinstance(node, tree.ReindexStmt):
        return _lonely_reindex(node)
    if isinstance(node, tree.VacuumStmt) and node.is_vacuumcmd:
        return "VACUUM"
    if isinstance(node, tree.ClusterStmt) and not node.HasField("relation"):
        return "CLUSTER of all tables"
    parts = (part for _, part in postgast.walk(node) if isinstance(part, tree.PartitionCmd))
    return "DETACH PARTITION CONCURRENTLY" if any(part.concurrent for part in parts) else None


def _lonely_reindex(node: Node) -> str | None:
    if tree.ReindexObjectType.Name(node.kind) not in {"REINDEX_OBJECT_INDEX", "REINDEX_OBJECT_TABLE"}:
        return "REINDEX of all"
    return "REINDEX CONCURRENTLY" if "concurrently" in _options(node.params) else None


def of(*kinds: str) -> Callable[[Callable[[Node, Notes], None]], Callable[[Node, Notes], None]]:
    """Register what is looked for in statements of these kinds."""

    def register(function: Callable[[Node, Notes], None]) -> Callable[[Node, Notes], None]:
        OF_KIND.update(dict.fromkeys(kinds, function))
        return function

    return register


@of("AlterTableStmt")
def _alter_table(node: Node, notes: Notes) -> None:
    table = node.relation.relname
    for each in node.cmds:
        command = postgast.unwrap_node(each)
        kind = tree.AlterTableType.Name(command.subtype)
        definition = postgast.unwrap_node(getattr(command, "def"))
        if kind == "AT_AddColumn":
            _add_column(table, definition, notes)
        elif kind == "AT_DropColumn":
            notes.note(Effect.DESTROYS, f"column {table}.{command.name}")
        elif kind == "AT_AlterColumnType":
            notes.on_table(Effect.REWRITES, table, f"the type of {table}.{command.name}")
        elif kind == "AT_SetNotNull":
            notes.on_table(Effect.SCANS, table, f"SET NOT NULL of {table}.{command.name}")
            notes.on_table(Effect.REQUIRES, table, f"{table}.{command.name} is set NOT NULL")
        elif kind == "AT_AddConstraint":
            _add_constraint(table, definition, notes)
        elif kind == "AT_ValidateConstraint" and (table, command.name) in notes.unchecked:
            what = f"constraint {command.name} of {table} is validated under the lock that added it"
            notes.on_table(Effect.SCANS, table, what)
        elif kind in _REWRITING:
            notes.on_table(Effect.REWRITES, table, _REWRITING[kind].format(table))


def _add_column(table: str, column: Node, notes: Notes) -> None:
    name = f"{table}.{column.colname}"
    if table not in notes.made:
        notes.note(Effect.CREATES, f"column {name}", names=[column.colname])
    constraints = {tree.ConstrType.Name(each.contype): each for each in map(postgast.unwrap_node, column.constraints)}
    given = {"CONSTR_DEFAULT", "CONSTR_GENERATED", "CONSTR_IDENTITY"} & constraints.keys()
    serial = strings(column.type_name.names)[-1:] and strings(column.type_name.names)[-1] in _SERIAL
    default = constraints.get("CONSTR_DEFAULT")
    stored = constraints.get("CONSTR_GENERATED")
    if serial or "CONSTR_IDENTITY" in constraints or (stored is not None and stored.generated_kind == "s"):
        notes.on_table(Effect.REWRITES, table, f"a value of its own in each row for {name}")
    elif default is not None and _varies(default.raw_expr):
        notes.on_table(Effect.REWRITES, table, f"a default for {name} that may differ from row to row")
    if {"CONSTR_NOTNULL", "CONSTR_PRIMARY"} & constraints.keys() and not given and not serial:
        notes.on_table(Effect.REQUIRES, table, f"{name} is NOT NULL without a default")
    if {"CONSTR_UNIQUE", "CONSTR_PRIMARY"} & constraints.keys():
        notes.on_table(Effect.BLOCKS, table, f"an index for {name}")
    if "CONSTR_CHECK" in constraints:
        notes.on_table(Effect.SCANS, table, f"a CHECK of {name}")


def _add_constraint(table: str, constraint: Node, notes: Notes) -> None:
    kind = tree.ConstrType.Name(constraint.contype)
    what = f"constraint {constraint.conname or 'without a name'} of {table}"
    if constraint.conname and table not in notes.made:
        notes.note(Effect.CREATES, what, names=[constraint.conname, *_columns(constraint)])
    if kind in {"CONSTR_UNIQUE", "CONSTR_PRIMARY", "CONSTR_EXCLUSION"} and not constraint.indexname:
        notes.on_table(Effect.BLOCKS, table, f"an index for {what}")
    elif kind in {"CONSTR_CHECK", "CONSTR_FOREIGN", "CONSTR_NOTNULL"} and not constraint.skip_validation:
        notes.on_table(Effect.SCANS, table, f"{what} is checked at once")
    elif constraint.skip_validation:
        notes.unchecked.add((table, constraint.conname))
    if kind == "CONSTR_NOTNULL":
        notes.on_table(Effect.REQUIRES, table, f"{what} is NOT NULL")


@of("CreateStmt")
def _create_table(node: Node, notes: Notes) -> None:
    _made(node.relation, notes)


@of("CreateTableAsStmt")
def _create_table_as(node: Node, notes: Notes) -> None:
    _made(node.into.rel, notes)


def _made(table: Node, notes: Notes) -> None:
    notes.made.add(table.relname)
    if table.relpersistence != "t":  # a temporary one goes by itself
        notes.note(Effect.CREATES, f"table {table.relname}", names=[table.relname])


@of("IndexStmt")
def _index(node: Node, notes: Notes) -> None:
    table, name = node.relation.relname, node.idxname or "without a name"
    if not node.concurrent:
        notes.on_table(Effect.BLOCKS, table, f"index {name} on {table}")
    if node.idxname and table not in notes.made:  # it goes with its table, and with its columns
        notes.note(Effect.CREATES, f"index {name}", names=[node.idxname, *_columns(node)])


@of("DropStmt")
def _drop(node: Node, notes: Notes) -> None:
    kind = tree.ObjectType.Name(node.remove_type).removeprefix("OBJECT_")
    for each in node.objects:
        named = postgast.unwrap_node(each)
        parts = getattr(named, "items", None) or getattr(named, "objname", None) or getattr(named, "names", None) or ()
        own = 2 if kind in _PART_OF_A_TABLE else 1
        notes.named(qualifier(parts, own=own))
        name = named.sval if isinstance(named, tree.String) else ".".join(strings(parts)[-own:])
        if kind == "SCHEMA":
            notes.note(Effect.REACHES, f"DROP SCHEMA {name}")
        if kind in _LOST_WITH_IT and name not in notes.made:
            notes.note(Effect.DESTROYS, f"{kind.replace('_', ' ').lower()} {name}")


@of("TruncateStmt")
def _truncate(node: Node, notes: Notes) -> None:
    for each in node.relations:
        table = postgast.unwrap_node(each).relname
        notes.on_table(Effect.DESTROYS, table, f"all rows of {table}")


@of("RenameStmt")
def _rename(node: Node, notes: Notes) -> None:
    kind = tree.ObjectType.Name(node.rename_type).removeprefix("OBJECT_")
    if kind == "TABLE" and node.relation.relname in notes.made:
        notes.renamed(node.relation.relname, node.newname)
    elif kind not in _NAMED_INSIDE_ONLY and node.relation.relname not in notes.made:
        what = ".".join(filter(None, (node.relation.relname, node.subname)))
        what = what or ".".join(strings(getattr(postgast.unwrap_node(node.object), "items", ()))[-1:])
        notes.note(Effect.RENAMES, f"{kind.lower()} {what}".strip())


@of("ViewStmt")
def _view(node: Node, notes: Notes) -> None:
    if not node.replace:
        notes.note(Effect.CREATES, f"view {node.view.relname}", names=[node.view.relname])


@of("CreateFunctionStmt")
def _function(node: Node, notes: Notes) -> None:
    notes.named(qualifier(node.funcname))
    name = strings(node.funcname)[-1]
    if not node.replace:
        notes.note(Effect.CREATES, f"function {name}", names=[name])


@of("CreateSeqStmt")
def _sequence(node: Node, notes: Notes) -> None:
    notes.note(Effect.CREATES, f"sequence {node.sequence.relname}", names=[node.sequence.relname])


@of("CreateEnumStmt", "CreateRangeStmt", "CreateDomainStmt")
def _type(node: Node, notes: Notes) -> None:
    names = node.domainname if isinstance(node, tree.CreateDomainStmt) else node.type_name
    notes.named(qualifier(names))
    notes.note(Effect.CREATES, f"type {strings(names)[-1]}", names=[strings(names)[-1]])


@of("AlterEnumStmt")
def _alter_enum(node: Node, notes: Notes) -> None:
    notes.named(qualifier(node.type_name))


@of("CreateTrigStmt", "CreatePolicyStmt")
def _part_of_table(node: Node, notes: Notes) -> None:
    kind, name = ("trigger", node.trigname) if isinstance(node, tree.CreateTrigStmt) else ("policy", node.policy_name)
    table = node.relation.relname if isinstance(node, tree.CreateTrigStmt) else node.table.relname
    if table not in notes.made:
        notes.note(Effect.CREATES, f"{kind} {name} of {table}", names=[name])


@of("CommentStmt")
def _comment(node: Node, notes: Notes) -> None:
    kind = tree.ObjectType.Name(node.objtype).removeprefix("OBJECT_")
    named = postgast.unwrap_node(node.object)
    notes.named(qualifier(getattr(named, "items", ()), own=2 if kind in _PART_OF_A_TABLE else 1))


@of("VariableSetStmt")
def _set(node: Node, notes: Notes) -> None:
    notes.setting(node.name)


@of("TransactionStmt")
def _control(node: Node, notes: Notes) -> None:
    notes.note(Effect.CONTROLS, tree.TransactionStmtKind.Name(node.kind).removeprefix("TRANS_STMT_").replace("_", " "))


@of("DoStmt", "CallStmt", "ExecuteStmt")
def _opaque(node: Node, notes: Notes) -> None:
    notes.note(Effect.OPAQUE, type(node).__name__.removesuffix("Stmt").upper())


@of("ClusterStmt")
def _cluster(node: Node, notes: Notes) -> None:
    notes.note(Effect.REWRITES, f"CLUSTER of {node.relation.relname or 'all tables'}")


@of("VacuumStmt")
def _vacuum(node: Node, notes: Notes) -> None:
    if "full" in _options(node.options):
        notes.note(Effect.REWRITES, "VACUUM FULL")


@of("ReindexStmt")
def _reindex(node: Node, notes: Notes) -> None:
    if "concurrently" not in _options(node.params):
        notes.note(Effect.BLOCKS, f"REINDEX of {node.relation.relname or node.name}")


@of("RefreshMatViewStmt")
def _refresh(node: Node, notes: Notes) -> None:
    if not node.concurrent:
        notes.on_table(Effect.REWRITES, node.relation.relname, f"materialized view {node.relation.relname}")


@of("LockStmt")
def _lock(node: Node, notes: Notes) -> None:
    for each in node.relations:
        notes.note(Effect.BLOCKS, f"LOCK of {postgast.unwrap_node(each).relname}")


def _options(elements: Node) -> set[str]:
    return {postgast.unwrap_node(each).defname for each in elements}


def _varies(expression: Node) -> bool:
    """Say whether an expression calls what may answer otherwise for each row; unknown functions may."""
    calls = (part for _, part in postgast.walk(expression) if isinstance(part, tree.FuncCall))
    return any(strings(call.funcname)[-1] not in _STABLE for call in calls)


def _columns(node: Node) -> Iterator[str]:
    """Yield the columns that an index or a constraint stands on: it goes when they go."""
    for _, part in postgast.walk(node):
        if isinstance(part, tree.ColumnRef):
            yield strings(part.fields)[-1]
        elif isinstance(part, tree.IndexElem):
            yield part.name
    for names in (getattr(node, "keys", ()), getattr(node, "fk_attrs", ())):
        yield from strings(names)
