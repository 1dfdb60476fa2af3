"""Django's settings, assembled from the environment: what is installed, how it connects, what it refuses.

`ENVIRONMENT` is the one place that read the surroundings; the rest of the project asks `settings.ENVIRONMENT`.
"""

import os
import sys
from pathlib import Path
from typing import Any

from django.urls import reverse_lazy

from apps.core import email_url
from opsplatform.settings import admin_site, environment

try:
    ENVIRONMENT = environment.read()
except environment.BadSettingError as error:
    sys.stderr.write(f"{error}\n")
    raise SystemExit(2) from error

BASE_DIR = environment.CHECKOUT
DEBUG = ENVIRONMENT.debug


def _secret_key() -> str:
    """Return the key that signs sessions: the one given, else (locally) the one that set-up wrote."""
    if ENVIRONMENT.secret_key:
        return ENVIRONMENT.secret_key
    written = ENVIRONMENT.keys / "django.secret"
    return written.read_text().strip() if written.exists() else INSECURE_SECRET_KEY


INSECURE_SECRET_KEY = "insecure-until-set-up-wrote-a-secret"  # noqa: S105 - production refuses it: opsplatform/production.py
SECRET_KEY = _secret_key()
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "apps.tenancy",
    "apps.events",
    "apps.webhooks",
    "apps.evidence",
    "apps.governance",
    "apps.subscription",
    "apps.jobs",
    "apps.schedules",
    "apps.health",
    "apps.migrations",
    "apps.notifications",
    "apps.tickets",
    "apps.console",
    "opsplatform",
]

MIDDLEWARE = [
    "apps.core.middleware.RequestContext",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Around sessions: signing in writes one on the way out, and only the operator's role may.
    "apps.tenancy.middleware.OperatorReading",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "opsplatform.urls"
WSGI_APPLICATION = "opsplatform.wsgi.application"
APPEND_SLASH = False

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": ENVIRONMENT.database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")  # the admin's; people's pages lead to their own form
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = "opsplatform.formats"

STATIC_URL = "/static/"
# WhiteNoise serves straight from the apps: no collectstatic step stands between a checkout and its first page.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 2**20
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = not ENVIRONMENT.local
CSRF_COOKIE_SECURE = not ENVIRONMENT.local
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.tenancy.authentication.BearerToken"],
    "DEFAULT_PERMISSION_CLASSES": ["apps.tenancy.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.core.strict_json.StrictJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.core.problems.handle",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "URL_FORMAT_OVERRIDE": None,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Platform Operations",
    "DESCRIPTION": "Submit governed work, watch it run, read its proof.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SCHEMA_PATH_PREFIX": "/operations",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "StateEnum": "apps.schedules.models.FIRE_STATES",
        "DeliveryStateEnum": "apps.webhooks.models.STATES",
        "HealthStatusEnum": "apps.health.models.STATUSES",
        "TicketStatusEnum": "apps.tickets.models.STATES",
        "NotificationStatusEnum": "apps.notifications.models.STATUSES",
        "NotificationDeliveryStateEnum": "apps.notifications.models.STATES",
        "NotificationReasonEnum": "apps.notifications.models.REASONS",
        "SeverityEnum": "apps.notifications.models.SEVERITIES",
        "EventActionEnum": "apps.notifications.models.ACTIONS",
        "TicketLinkKindEnum": "apps.tickets.models.LINKS",
        "MigrationStatusEnum": "apps.migrations.models.STATES",
        "MigrationTargetKindEnum": "apps.migrations.fields.TARGET_KINDS",
        "MigrationStepKindEnum": "apps.migrations.fields.STEP_KINDS",
    },
    # The pages' scripts come out of a wheel: no browser of ours asks another host.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

UNFOLD = admin_site.UNFOLD

# Channels connect by themselves, with time-outs of their own (workers/channels/email.py); these are for all else.
EMAIL = email_url.parsed(ENVIRONMENT.email_url)
EMAIL_BACKEND = EMAIL.backend
EMAIL_HOST, EMAIL_PORT = EMAIL.host, EMAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = EMAIL.username, EMAIL.password
EMAIL_USE_TLS, EMAIL_USE_SSL, EMAIL_TIMEOUT = EMAIL.starttls, EMAIL.tls, 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = EMAIL.sender
ANYMAIL = {f"{EMAIL.anymail.upper()}_API_KEY": EMAIL.password} if EMAIL.anymail else {}

CELERY_BEAT_TZ_AWARE = True
DJANGO_CELERY_BEAT_TZ_AWARE = True

# Celery's own Django fixup runs the checks in every child otherwise; the supervisor's set-up has run them once.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

LOCALE_PATHS: list[Path] = []
LOGGING_CONFIG = None  # structlog: `opsplatform.logging.configure`, called by the app's `ready`
