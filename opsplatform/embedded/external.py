"""Servers that are given (DATABASE_URL, BROKER_URL): asked once, before anything starts, whether they answer.

One short connection each. The password never reaches a message.
"""

import socket
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from opsplatform.embedded.home import EmbeddedError

OLDEST_POSTGRES = 15
CONNECT_S = 5
SENTINEL_PORT = 26379


def masked(*, url: str) -> str:
    """Return `url` with any password replaced by `***`, and without its query (which may hold one too)."""
    parts = urlsplit(url)
    credentials, at, place = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}{colon}{'***' if colon else ''}{at}{place}", query=""))


def check_database(*, url: str) -> None:
    """Raise `EmbeddedError` unless a PostgreSQL new enough answers at `url` and lets us in."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_S) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise EmbeddedError(f"DATABASE_URL {masked(url=url)} cannot be reached: {said}") from error
    if version < OLDEST_POSTGRES:
        raise EmbeddedError(
            f"DATABASE_URL {masked(url=url)} is PostgreSQL {version}: {OLDEST_POSTGRES} or newer is needed"
        )


def check_broker(*, url: str) -> None:
    """Raise `EmbeddedError` unless a broker of a kind we speak answers at `url`."""
    scheme = urlsplit(url).scheme
    try:
        if scheme == "sentinel":
            _any_sentinel(url)
        elif scheme in {"redis", "rediss"}:
            client = redis.Redis.from_url(
                url, socket_timeout=CONNECT_S, socket_connect_timeout=CONNECT_S, retry=Retry(NoBackoff(), 0)
            )
            try:
                client.ping()
            finally:
                client.close()
        else:
            raise EmbeddedError(f"BROKER_URL begins with {scheme}://: redis://, rediss:// or sentinel:// is needed")
    except (redis.RedisError, OSError, ValueError) as error:
        raise EmbeddedError(
            f"BROKER_URL {masked(url=url.split(';', maxsplit=1)[0])} cannot be reached: {error}"
        ) from error


def _any_sentinel(url: str) -> None:
    """Connect to the first sentinel of a `;`-separated list that takes us; raise what the last one said."""
    last: OSError = OSError("no sentinel is named")
    for one in url.split(";"):
        parts = urlsplit(one)
        try:
            socket.create_connection((parts.hostname or "", parts.port or SENTINEL_PORT), CONNECT_S).close()
        except OSError as error:
            last = error
        else:
            return
    raise last
