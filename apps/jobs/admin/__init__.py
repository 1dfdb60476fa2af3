"""Admin pages of jobs: the jobs, what came of their dispatches, and the pools and processes that run them."""

from apps.jobs.admin import jobs, pools, runs  # noqa: F401 - importing registers
