"""The built-in job types, each a small file. Importing this imports none of them: `load` does, from MODULES.

Handlers import DuckDB and pyarrow inside themselves: the web process reads these types and must stay light.
"""

MODULES = (
    "workers.catalog.ops",
    "workers.catalog.ingest_file",
    "workers.catalog.sql_transform",
    "workers.catalog.kpi_refresh",
    "workers.catalog.contract_run",
    "workers.catalog.data_check",
    "workers.catalog.dataset_promote",
    "workers.catalog.ingest_http",
    "workers.catalog.ingest_postgres",
    "workers.catalog.http_call",
    "workers.catalog.migration_step",
)
