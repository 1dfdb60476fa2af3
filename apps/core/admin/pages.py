"""The two kinds of admin pages: records that people may only read, and configuration that operations write."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import unfold.decorators
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.db import models
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import slugify

from apps.core.admin.lists import InfinitePaginator
from apps.core.ids import BadIdError, parse_id

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as UnfoldAdmin
else:
    from unfold.admin import ModelAdmin as UnfoldBase

    class UnfoldAdmin(UnfoldBase):
        """unfold's pages, which may be named with their model as the type checker knows Django's."""

        def __class_getitem__(cls, model: Any) -> type:
            return cls


Row = TypeVar("Row", bound=models.Model)
Shown = TypeVar("Shown", bound=Callable[..., Any])


def column(title: str, *, label: bool | dict[str, str] | None = None, ordering: Any = None) -> Callable[[Shown], Shown]:
    """Make a method a column or line titled `title`; `label` shows its value as a badge, coloured by value → colour."""
    made: Callable[[Shown], Shown] = unfold.decorators.display(
        description=title, label=label, ordering=ordering, empty_value="–"
    )
    return made


def button(title: str) -> Callable[[Shown], Shown]:
    """Make a method a button titled `title` on a row's page: (request, object_id) → response."""
    made: Callable[[Shown], Shown] = unfold.decorators.action(description=title, url_path=slugify(title))
    return made


class Page(UnfoldAdmin[Row]):
    """A model's pages: what is not there is 404, in a list as in an address."""

    list_per_page = 50
    show_facets = ShowFacets.NEVER  # a facet is a COUNT for each value of each filter
    list_filter_submit = True
    compressed_fields = True

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> NoReturn:
        """Say 404 where Django goes to the first page with a message: an address is right or it is not."""
        raise Http404(f"there is no {opts.verbose_name} {object_id!r}")


class RecordAdmin(Page[Row]):
    """Pages of what the plane writes: to be read, found by id, and never counted.

    Row-level security gives the operator's role no right to write these tables either: this is the first wall, that
    is the second.
    """

    actions = None
    sortable_by = ()  # another order than the table's own would sort all of it
    show_full_result_count = False
    paginator = InfinitePaginator
    search_fields: ClassVar[tuple[str, ...]] = ()  # columns of an index, each compared with a whole id
    search_help_text = "A whole id"
    heavy: ClassVar[tuple[str, ...]] = ()  # columns that a list does not show and need not load

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: operations insert."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Say no: operations update."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """Say no: records stay."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Row]:
        """Return the rows; a list leaves its heavy columns in the table."""
        rows = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and (match.url_name or "").endswith("_changelist"):
            return rows.defer(*self.heavy)
        return rows

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the record; people have changed nothing about it, so there is no history of theirs to offer."""
        return super().changeform_view(request, object_id, form_url, {"show_history": False, **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Row], search_term: str
    ) -> tuple[QuerySet[Row], bool]:
        """Return the rows with this id; anything but a whole id finds nothing, and says why."""
        text = search_term.strip()
        if not text:
            return queryset, False
        try:
            wanted = parse_id(text)
        except BadIdError as error:
            messages.warning(request, f"“{text[:60]}”: {error}. Other questions go by the filters.")
            return queryset.none(), False
        found = Q()
        for name in self.search_fields:
            found |= Q(**{name: wanted})
        return queryset.filter(found), False


class ConfigurationAdmin(Page[Row]):
    """Pages of what people decide. Subclasses write through operations; what those refuse is said, not raised."""

    refusals: ClassVar[tuple[type[Exception], ...]] = ()  # the named errors of the operations that this page calls
    fixed: ClassVar[tuple[str, ...]] = ()  # chosen once, when the row is made
    told: ClassVar[tuple[str, ...]] = ()  # never chosen: what the database knows of a row that exists

    def get_readonly_fields(self, request: HttpRequest, obj: Row | None = None) -> tuple[str, ...]:
        """Return what cannot be edited: of a row that exists, also what was fixed when it was made."""
        always = tuple(str(name) for name in super().get_readonly_fields(request, obj))
        return always if obj is None else (*self.fixed, *self.told, *always)

    def get_fieldsets(self, request: HttpRequest, obj: Row | None = None) -> Any:
        """Return the page's parts; a row that does not exist yet has nothing to tell."""
        parts = super().get_fieldsets(request, obj)
        if obj is not None:
            return parts
        return [
            (title, {**part, "fields": [name for name in part["fields"] if name not in self.told]})
            for title, part in parts
        ]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the bulk actions, without deletion: a rule is taken away one at a time, on its own page."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show or save the form; a refusal (somebody was faster) comes back as a message."""
        return self._or_refused(
            request,
            lambda: super(ConfigurationAdmin, self).changeform_view(request, object_id, form_url, extra_context),
        )

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask, or delete; a refusal comes back as a message."""
        return self._or_refused(
            request, lambda: super(ConfigurationAdmin, self).delete_view(request, object_id, extra_context)
        )

    def _or_refused(self, request: HttpRequest, answer: Callable[[], HttpResponse]) -> HttpResponse:
        try:
            return answer()
        except self.refusals as refusal:
            messages.error(request, str(refusal))
            return HttpResponseRedirect(request.get_full_path())
