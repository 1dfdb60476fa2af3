"""The addresses of schedules and triggers, below /operations/."""

from django.urls import path

from apps.schedules.api import schedules, triggers

urlpatterns = [
    path("schedules", schedules.Schedules.as_view(), name="schedules"),
    path("schedules/<str:schedule_id>", schedules.OneSchedule.as_view(), name="schedule"),
    path("schedules/<str:schedule_id>/fires", schedules.Fires.as_view(), name="schedule-fires"),
    path("schedules/<str:schedule_id>/pause", schedules.PauseSchedule.as_view(), name="schedule-pause"),
    path("schedules/<str:schedule_id>/resume", schedules.ResumeSchedule.as_view(), name="schedule-resume"),
    path("schedules/<str:schedule_id>/backfill", schedules.Backfill.as_view(), name="schedule-backfill"),
    path("triggers", triggers.Triggers.as_view(), name="triggers"),
    path("triggers/<str:trigger_id>", triggers.OneTrigger.as_view(), name="trigger"),
    path("triggers/<str:trigger_id>/firings", triggers.Firings.as_view(), name="trigger-firings"),
]
