"""The addresses of people's pages, below /console/."""

from django.urls import path

from apps.console import jobs, pages, signing, trouble

app_name = "console"

urlpatterns = [
    path("", pages.home, name="home"),
    path("sign-in", signing.SignIn.as_view(), name="sign-in"),
    path("sign-out", signing.SignOut.as_view(), name="sign-out"),
    path("<slug:tenant_id>/", pages.overview, name="overview"),
    path("<slug:tenant_id>/history", pages.history, name="history"),
    path("<slug:tenant_id>/beside", pages.beside, name="beside"),
    path("<slug:tenant_id>/jobs/<uuid:job_id>", jobs.job, name="job"),
    path("<slug:tenant_id>/jobs/<uuid:job_id>/story", jobs.story, name="story"),
    path("<slug:tenant_id>/jobs/<uuid:job_id>/log", jobs.log, name="log"),
    path("<slug:tenant_id>/jobs/<uuid:job_id>/receipt", jobs.receipt, name="receipt"),
    path("<slug:tenant_id>/alerts/<uuid:alert_id>", trouble.alert, name="alert"),
    path("<slug:tenant_id>/tickets/<uuid:ticket_id>", trouble.ticket, name="ticket"),
]
