"""Signing in and out. Under the operator's role, as the admin's own form is (`apps.tenancy.middleware`)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from apps.console.visits import POLICY


class SignIn(LoginView):
    """The form, for a tenant's own people and for operators alike."""

    template_name = "console/sign_in.html"
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        """Return where a person goes who was on no way anywhere."""
        return reverse("console:home")

    def get_success_url(self) -> str:
        """Return where a person was going; who was going to the form itself was on no way anywhere."""
        wanted = super().get_success_url()
        return self.get_default_redirect_url() if urlsplit(wanted).path == self.request.path else wanted

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer under the pages' own policy."""
        answer = super().dispatch(request, *args, **kwargs)
        answer.headers["Content-Security-Policy"] = POLICY
        return answer


class SignOut(LogoutView):
    """The end of a session."""

    def get_default_redirect_url(self) -> str:
        """Return the form: somebody else may be next."""
        return reverse("console:sign-in")
