"""The plane's own addresses: where others reach it, and how one is told in logs and problems, without its secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

# A callback's address is its own proof. However it was misspelt, what follows may still be a token.
SECRET: Final = re.compile(r"(?P<keep>(?i:/callbacks/))[^\s\"'?#]+")
TOLD: Final = r"\g<keep>***"


def told(text: str) -> str:
    """Return an address, or a text with addresses in it, without secrets."""
    return SECRET.sub(TOLD, text)


def public_url(variables: Mapping[str, str]) -> str | None:
    """Return where modules reach this plane, without a slash at its end, as OPS_PUBLIC_URL of an environment says.

    Raises `ValueError`, in words for an operator, for what is no such address.
    """
    text = variables.get("OPS_PUBLIC_URL") or ""
    if not text:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("OPS_PUBLIC_URL: a host, and perhaps a path, such as https://ops.example.org would be right")
    return text.rstrip("/")
