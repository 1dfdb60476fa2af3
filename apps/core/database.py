"""Small pieces of SQL that Django has no word for."""

from __future__ import annotations

import json
from typing import Any

from django.db import models


class ClockTimestamp(models.Func):
    """PostgreSQL's `clock_timestamp()`: the instant of the statement, where `now()` is its transaction's beginning."""

    template = "clock_timestamp()"
    output_field = models.DateTimeField()


def loaded(value: Any) -> Any:
    """Return what a raw query answered as jsonb: Django's connections hand it over as text."""
    return json.loads(value) if isinstance(value, str) else value
