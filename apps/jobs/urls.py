"""The addresses of jobs, below /operations/."""

from django.urls import path

from apps.jobs import api

urlpatterns = [
    path("jobs", api.Jobs.as_view(), name="jobs"),
    path("jobs/<str:job_id>", api.OneJob.as_view(), name="job"),
    path("jobs/<str:job_id>/timeline", api.Timeline.as_view(), name="job-timeline"),
    path("jobs/<str:job_id>/logs", api.Logs.as_view(), name="job-logs"),
    path("job-types", api.JobTypes.as_view(), name="job-types"),
]
