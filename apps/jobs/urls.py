"""The addresses of jobs, below /operations/."""

from django.urls import path

from apps.jobs.api import callbacks, control, evidence, jobs, queues, reading, why

urlpatterns = [
    path("jobs", jobs.Jobs.as_view(), name="jobs"),
    path("jobs/batch", jobs.Batch.as_view(), name="jobs-batch"),
    path("jobs/<str:job_id>", reading.OneJob.as_view(), name="job"),
    path("jobs/<str:job_id>/timeline", reading.Timeline.as_view(), name="job-timeline"),
    path("jobs/<str:job_id>/why", why.Why.as_view(), name="job-why"),
    path("jobs/<str:job_id>/evidence", evidence.Receipt.as_view(), name="job-evidence"),
    path("jobs/<str:job_id>/logs", reading.Logs.as_view(), name="job-logs"),
    path("jobs/<str:job_id>/cancel", control.Cancel.as_view(), name="job-cancel"),
    path("jobs/<str:job_id>/retry", control.Retry.as_view(), name="job-retry"),
    path("jobs/<str:job_id>/reprioritize", control.Reprioritize.as_view(), name="job-reprioritize"),
    path("callbacks/<str:token>", callbacks.Callback.as_view(), name="callback"),
    path("queues/<str:environment>/pause", queues.PauseQueue.as_view(), name="queue-pause"),
    path("queues/<str:environment>/resume", queues.ResumeQueue.as_view(), name="queue-resume"),
    path("environments", queues.Environments.as_view(), name="environments"),
    path("environments/<str:environment>", queues.OneEnvironment.as_view(), name="environment"),
    path("job-types", reading.JobTypes.as_view(), name="job-types"),
]
