"""Serializers that refuse what they do not know, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers


class StrictSerializer(serializers.Serializer[Any]):
    """A body whose every field is known: DRF would drop an unknown one in silence, and a typo change the meaning."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated fields; an unknown one is named, beside whatever else is wrong."""
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else []
        known = ", ".join(sorted(self.fields))
        errors: dict[str, Any] = {name: [f"there is no such field; known are: {known}"] for name in unknown}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if isinstance(error.detail, dict):
                errors |= error.detail
            raise serializers.ValidationError(errors or error.detail) from error
        if errors:
            raise serializers.ValidationError(errors)
        return values
