"""The user's pip configuration, told to uv: uv reads neither pip.conf nor PIP_*, and must use the same index.

Pure translation: pip itself says what is in force (files and variables merged), we rename it. What the user has set for
uv directly wins.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

SCOPES = (":env:", "install", "global")  # pip's own order: a variable beats the command's section beats [global]


def in_force(*, listing: str) -> dict[str, str]:
    """Return option → value from what `pip config list` printed, the strongest scope winning."""
    found: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        scope, _, option = key.partition(".")
        if not equals or scope not in SCOPES:
            continue
        rank = SCOPES.index(scope)
        if option not in found or rank < found[option][0]:
            try:
                found[option] = (rank, str(ast.literal_eval(value)))
            except (SyntaxError, ValueError):
                found[option] = (rank, value)
    return {option: value for option, (_, value) in found.items() if value}


def for_uv(*, pip: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make uv behave as pip is configured to; none that `variables` already decides."""
    told: dict[str, str] = {}
    if "index-url" in pip and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(variables):
        told["UV_DEFAULT_INDEX"] = pip["index-url"]
    if "extra-index-url" in pip and not {"UV_INDEX", "UV_EXTRA_INDEX_URL"} & set(variables):
        told["UV_INDEX"] = " ".join(pip["extra-index-url"].split())
        # pip takes the best file of all indexes, uv that of the first that knows the name; the hashes make it safe
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    for option, variable, separator in (
        ("find-links", "UV_FIND_LINKS", ","),
        ("trusted-host", "UV_INSECURE_HOST", " "),
        ("no-index", "UV_NO_INDEX", " "),
        ("cert", "SSL_CERT_FILE", " "),
        ("client-cert", "SSL_CLIENT_CERT", " "),
        ("default-timeout", "UV_HTTP_TIMEOUT", " "),
        ("timeout", "UV_HTTP_TIMEOUT", " "),
        ("retries", "UV_HTTP_RETRIES", " "),
        ("proxy", "ALL_PROXY", " "),
        ("keyring-provider", "UV_KEYRING_PROVIDER", " "),
    ):
        if option in pip:
            told[variable] = separator.join(pip[option].split())
    return {name: value for name, value in told.items() if name not in variables}
