"""The addresses of jobs, below /operations/."""

from django.urls import path

from apps.jobs import api, control_api

urlpatterns = [
    path("jobs", api.Jobs.as_view(), name="jobs"),
    path("jobs/<str:job_id>", api.OneJob.as_view(), name="job"),
    path("jobs/<str:job_id>/timeline", api.Timeline.as_view(), name="job-timeline"),
    path("jobs/<str:job_id>/logs", api.Logs.as_view(), name="job-logs"),
    path("jobs/<str:job_id>/cancel", control_api.Cancel.as_view(), name="job-cancel"),
    path("jobs/<str:job_id>/retry", control_api.Retry.as_view(), name="job-retry"),
    path("jobs/<str:job_id>/reprioritize", control_api.Reprioritize.as_view(), name="job-reprioritize"),
    path("job-types", api.JobTypes.as_view(), name="job-types"),
]
