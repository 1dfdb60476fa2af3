"""Django's name for the composition root; when everything is loaded, it is wired."""

import sys

from django.apps import AppConfig

from apps.jobs.types import BadJobTypeError
from opsplatform.settings.environment import BadSettingError


class OpsplatformConfig(AppConfig):
    """Management commands, and the moment of wiring."""

    name = "opsplatform"
    label = "opsplatform"
    verbose_name = "Platform Operations"

    def ready(self) -> None:
        """Configure logging and wire events, job types and decision points together."""
        from django.conf import settings  # noqa: PLC0415 - models must be loaded first

        from opsplatform import logging, production, wiring  # noqa: PLC0415

        environment = settings.ENVIRONMENT
        for complaint in production.complaints(
            environment,
            secret_key=settings.SECRET_KEY,
            debug=settings.DEBUG,
            default_secret=settings.INSECURE_SECRET_KEY,
        ):
            sys.stderr.write(f"{complaint}\n")
            raise SystemExit(2)
        try:
            logging.configure(process=environment.process, sentry_dsn=environment.sentry_dsn)
            wiring.install()
        except (BadSettingError, BadJobTypeError) as error:
            sys.stderr.write(f"{error}\n")
            raise SystemExit(2) from error
