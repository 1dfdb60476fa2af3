"""Admin pages of migrations: how each stands, what it plans, and what people ask of it."""

from apps.migrations.admin import migrations, records  # noqa: F401 - they register themselves
