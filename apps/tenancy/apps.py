"""Django's name for the app."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """Tenants and who acts for them."""

    name = "apps.tenancy"
