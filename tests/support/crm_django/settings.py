"""The module's settings. Its own database is none that could be reached: a step brings the target's."""

import os

SECRET_KEY = "the module's own"
INSTALLED_APPS = ["tests.support.crm_django.apps.CrmConfig"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "HOST": "nowhere.invalid"}, "other": {}}
DATABASE_ROUTERS = ["nobody.Knows"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

print("a module may print what it likes")
if any(name.startswith("OPS_") or name == "DATABASE_URL" for name in os.environ):
    raise RuntimeError("the plane's environment is none of the module's business")
