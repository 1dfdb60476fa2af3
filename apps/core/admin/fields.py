"""Form fields of configuration pages. What they refuse, they refuse with what would be right."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from apps.core import strict_json

if TYPE_CHECKING:
    RowForm = forms.ModelForm
else:

    class RowForm(forms.ModelForm):
        """Django's form of a row, which may be named with its model as the type checker knows it."""

        def __class_getitem__(cls, model: Any) -> type:
            return cls


_PATTERN = re.compile(r"[a-z*][a-z0-9_*-]*(\.[a-z0-9_*][a-z0-9_*-]*)*")


class WordsField(forms.Field):
    """A list of words, written in one line; `none_if_empty` says what an empty line means: None, else an empty list."""

    def __init__(self, *, none_if_empty: bool = False, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminTextInputWidget)
        self.none_if_empty = none_if_empty
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        """Return the line to edit."""
        return ", ".join(value) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> list[str] | None:
        """Return the words, each once, in the order written."""
        words = list(dict.fromkeys(re.split(r"[,\s]+", str(value or "").strip(" ,\t\r\n"))))
        words = [word for word in words if word]
        return None if self.none_if_empty and not words else words

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Say whether the words are others."""
        return (initial or []) != (self.to_python(data) or [])


class JSONObjectField(forms.Field):
    """A JSON object, read as strictly as the API reads one, shown indented."""

    def __init__(self, *, rows: int = 16, **options: Any) -> None:
        options.setdefault("widget", UnfoldAdminTextareaWidget(attrs={"rows": rows, "class": "ops-mono"}))
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        """Return the text to edit; what was refused comes back as it was typed."""
        return value if isinstance(value, str) else json.dumps(value or {}, indent=2, ensure_ascii=False)

    def to_python(self, value: Any) -> dict[str, Any]:
        """Return the object; raise `ValidationError` naming the place that is wrong."""
        if isinstance(value, dict):
            return value
        text = str(value or "").strip() or "{}"
        try:
            parsed = strict_json.loads(text.encode())
        except strict_json.BadJSONError as error:
            raise ValidationError(f"{error.field}: {error.message}") from error
        if not isinstance(parsed, dict):
            raise ValidationError('An object would be right: {"name": …}')
        return parsed

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Say whether the object is another; what cannot be read is."""
        try:
            return bool((initial or {}) != self.to_python(data))
        except ValidationError:
            return True


def patterns(words: Iterable[str]) -> None:
    """Refuse what can match no job type."""
    for word in words:
        if not _PATTERN.fullmatch(word) or len(word) > 64:  # noqa: PLR2004 - a job type's name is no longer
            raise ValidationError(f"“{word}” can match no job type: “kpi.refresh”, “kpi.*” or “*” would be right")


def among(words: Iterable[str] | None, *, known: Collection[str], what: str) -> None:
    """Refuse a word that is not among the `known`."""
    unknown = sorted(set(words or ()) - set(known))
    if unknown:
        some = ", ".join(sorted(known)[:20]) or "none yet"
        raise ValidationError(f"There is no {what} “{unknown[0]}”; known: {some}")
