"""Lists of tables that grow for ever: pages without a count, and filters that an index answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.paginator import Paginator
from django.db import connection, models
from django.db.models import QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.admin import SimpleListFilter as DropdownFilter

    AnyPaginator = Paginator[Any]
else:
    from unfold.contrib.filters.admin import DropdownFilter

    AnyPaginator = Paginator

from apps.core.clock import DatabaseClock
from apps.core.ids import first_id_at

MAX_PAGES = 200


class InfinitePaginator(AnyPaginator):
    """Pages that are turned, not counted: `count` is how far one may turn, so no query counts a table.

    By this name unfold's pages know that there is no number of results to tell (its own class turns for ever). Turning
    costs as many rows as were turned over: whoever would turn further than 200 pages has filters for that.
    """

    template_name = "unfold/helpers/pagination_infinite.html"

    @property
    def count(self) -> int:  # a cached query there, a bound here
        """Return the rows within the pages one may turn to."""
        return self.per_page * MAX_PAGES


class SinceFilter(DropdownFilter):
    """The last hour, day, week, by the primary key: a UUIDv7 begins with the millisecond of its birth."""

    title = "age"
    parameter_name = "since"
    by: ClassVar[str] = "pk"
    spans: ClassVar[dict[str, tuple[str, timedelta]]] = {
        "1h": ("last hour", timedelta(hours=1)),
        "24h": ("last 24 hours", timedelta(days=1)),
        "7d": ("last 7 days", timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the spans."""
        return [(key, words) for key, (words, _) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[models.Model]) -> QuerySet[models.Model]:
        """Return the rows born within the span."""
        asked = self.spans.get(self.value() or "")
        if asked is None:
            return queryset
        since = DatabaseClock.ask(connection).now() - asked[1]
        return queryset.filter(**{f"{self.by}__gte": first_id_at(since)})
