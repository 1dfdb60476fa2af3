"""The addresses of jobs, below /operations/."""

from django.urls import path

from apps.jobs.api import jobs, reading

urlpatterns = [
    path("jobs", jobs.Jobs.as_view(), name="jobs"),
    path("jobs/batch", jobs.Batch.as_view(), name="jobs-batch"),
    path("jobs/<str:job_id>", reading.OneJob.as_view(), name="job"),
    path("jobs/<str:job_id>/timeline", reading.Timeline.as_view(), name="job-timeline"),
    path("jobs/<str:job_id>/logs", reading.Logs.as_view(), name="job-logs"),
    path("job-types", reading.JobTypes.as_view(), name="job-types"),
]
