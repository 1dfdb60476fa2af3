"""Django's name for the app."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """Tenants and who acts for them."""

    name = "apps.tenancy"

    def ready(self) -> None:
        """Make the system checks and the OpenAPI name of the bearer token known."""
        from apps.tenancy import checks, openapi  # noqa: F401, PLC0415 - importing registers them
