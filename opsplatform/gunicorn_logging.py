"""gunicorn's logger, without handlers of its own: `--logger-class opsplatform.gunicorn_logging.Logger`.

gunicorn sets its loggers up before any worker has loaded the project; this way its lines have our form from the first.
"""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger as GunicornLogger  # type: ignore[import-untyped]

from opsplatform import logging


class Logger(GunicornLogger):  # type: ignore[misc]  # the library is untyped
    """Hands everything to the root logger."""

    def setup(self, cfg: Any) -> None:
        """Configure logging for the web process; of gunicorn's own settings only its level counts."""
        self.cfg = cfg  # a reload brings another one
        self.error_log.setLevel(self.LOG_LEVELS.get(cfg.loglevel.lower(), self.loglevel))
        logging.configure(process="web")
