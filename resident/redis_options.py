"""What stands behind the ? of a Redis URL: which option is wrong, and whether TLS can begin."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qsl, urlencode

import redis
from redis.exceptions import RedisError

from resident.errors import ConfigurationError

#: Each of a PEM file.
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def fault_in_options(url: str) -> str:
    """The first that redis-py does not take, tried alone; its value may be a secret.

    Empty if there is none, or if what follows the ? may be the rest of a password.
    """
    scheme = url.partition(":")[0]
    query = url.partition("?")[2].partition("#")[0]
    if "@" in query:
        return ""
    for name, value in parse_qsl(query):
        try:
            pool = redis.ConnectionPool.from_url(f"{scheme}://?{urlencode({name: value})}")
            pool.connection_class(**pool.connection_kwargs)
        except TypeError:
            is_for_tls = name.startswith("ssl_") and scheme != "rediss"
            return f"{name} is for rediss:// only" if is_for_tls else f"there is no option {name}"
        except (ValueError, RedisError):
            return f"{name} cannot have this value"
    return ""


def check_tls(options: dict[str, Any]) -> None:
    """Loads what a connection will load.

    Raises:
        ConfigurationError: A file does not load; no later try could fare better.
    """
    for name in _FILES:
        if options.get(name):
            _check_readable(name, options[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca_certs, certfile, keyfile = map(options.get, _FILES)
    if keyfile and not certfile:
        raise ConfigurationError("RESIDENT_REDIS_URL has ssl_keyfile, and no ssl_certfile")
    if ca_certs:
        try:
            context.load_verify_locations(ca_certs)
        except ssl.SSLError as error:
            raise _does_not_load(f"ssl_ca_certs={ca_certs!r}", error) from None
    if certfile:
        try:  # with a password, lest OpenSSL asks for one
            context.load_cert_chain(certfile, keyfile, options.get("ssl_password", ""))
        except ssl.SSLError as error:
            named = f"ssl_certfile={certfile!r}" + (f", ssl_keyfile={keyfile!r}" if keyfile else "")
            raise _does_not_load(named, error) from None


def _check_readable(name: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        msg = f"RESIDENT_REDIS_URL: {name}={path!r} cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from None


def _does_not_load(named: str, error: ssl.SSLError) -> ConfigurationError:
    reason = error.reason.replace("_", " ").lower() if error.reason else "it is not PEM"
    return ConfigurationError(f"RESIDENT_REDIS_URL: {named} cannot be used: {reason}")


def concerns_certificates(error: BaseException) -> bool:
    """Whether TLS failed since one side does not trust the other's certificate, or misses it."""
    one: BaseException | None = error
    while one is not None:
        reason = one.reason or "" if isinstance(one, ssl.SSLError) else ""
        if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
            return True
        one = one.__cause__ or one.__context__
    return False
