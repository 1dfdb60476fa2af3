"""The module's app."""

from django.apps import AppConfig


class CrmConfig(AppConfig):
    """What Django is told of it."""

    name = "tests.support.crm_django"
    label = "crm"
