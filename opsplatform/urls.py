"""Routes: the API under /operations, its documents, people's pages, the admin, and what machines ask."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from opsplatform import edge

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("console", RedirectView.as_view(url="/console/")),
    path("console/", include("apps.console.urls")),
    path("", include("apps.governance.urls")),
    path("", include("apps.subscription.urls")),
    path("operations/", include("apps.events.urls")),
    path("operations/", include("apps.evidence.urls")),
    path("operations/", include("apps.webhooks.urls")),
    path("operations/", include("apps.jobs.urls")),
    path("operations/", include("apps.schedules.urls")),
    path("operations/", include("apps.health.urls")),
    path("operations/", include("apps.migrations.urls")),
    path("operations/", include("apps.tickets.urls")),
    path("operations/", include("apps.notifications.urls")),
    path("operations/schema", SpectacularAPIView.as_view(), name="schema"),
    path("operations/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    *edge.urlpatterns,
]

handler400 = "apps.core.fallbacks.bad_request"
handler403 = "apps.core.fallbacks.permission_denied"
handler404 = "apps.core.fallbacks.not_found"
handler500 = "apps.core.fallbacks.server_error"
