"""Row-level security, the second wall: the policies of tenant-owned tables, as a migration operation.

The form of the tenant policy matters. `(select current_setting(…))` is evaluated once a query and used by the index;
a CASE costs the index (measured at 400 times slower on a million rows), and without `nullif` a pooled connection, whose
setting reads '' after its first transaction, would compare with a tenant named ''.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations.base import Operation

TENANT = "nullif((select current_setting('ops.tenant', true)), '')"


class ForceRowSecurity(Operation):
    """Force row-level security on `table`: a tenant's rows for the app, all for the loops, reading for operators."""

    reduces_to_sql = True
    reversible = True

    def __init__(self, table: str, *, operator_writes: bool = False) -> None:
        self.table = table
        self.operator_writes = operator_writes

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing in Django's model of the schema: policies live in PostgreSQL alone."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:  # noqa: ARG002
        """Enable and force row-level security and lay the three policies."""
        table = schema_editor.quote_name(self.table)
        operator = "FOR ALL TO ops_operator USING (true) WITH CHECK (true)"
        if not self.operator_writes:
            operator = "FOR SELECT TO ops_operator USING (true)"
        for statement in (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY tenant ON {table} TO ops_app USING (tenant_id = {TENANT})"
            f" WITH CHECK (tenant_id = {TENANT})",
            f"CREATE POLICY control ON {table} TO ops_control USING (true) WITH CHECK (true)",
            f"CREATE POLICY operator ON {table} {operator}",
        ):
            schema_editor.execute(statement)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:  # noqa: ARG002
        """Take the policies away again."""
        table = schema_editor.quote_name(self.table)
        for policy in ("tenant", "control", "operator"):
            schema_editor.execute(f"DROP POLICY {policy} ON {table}")
        schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")

    def describe(self) -> str:
        """Return what `migrate --plan` shows."""
        return f"Force row-level security on {self.table}"
