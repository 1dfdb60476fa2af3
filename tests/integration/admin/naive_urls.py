"""Routes of a careless admin, for one test: it lets an operator edit jobs, as ours does not."""

from __future__ import annotations

from django.contrib.admin import AdminSite, ModelAdmin
from django.urls import path

from apps.jobs.models import Job


class NaiveJobs(ModelAdmin):  # type: ignore[type-arg]  # Django's own class takes no parameter at run time
    """A page that forgot the first wall."""

    fields = ("reason_code",)


site = AdminSite(name="naive")
site.register(Job, NaiveJobs)
urlpatterns = [path("admin/", site.urls)]
handler403 = "apps.core.fallbacks.permission_denied"
