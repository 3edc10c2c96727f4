"""The settings of authorities that are asked over a wire: one module per type, each a table of settings.

A module here named after a type, with SETTINGS (and `problems`, for what is wrong between them), is its configuration;
what every remote type takes as well stands below. Values are JSON-able: they travel to the worker as they are. A
secret setting names where the secret is (a file, a systemd credential, a variable of the environment): it is read for
each request, and never kept.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from certagent.config.reader import RedactedValueError, Table, absolute, duration, flag, text, texts
from certagent.core.endpoints import barred

FINGERPRINT = re.compile(r"[0-9a-f]{64}")
SOURCE = re.compile(r"/[^\0]*|credential:[A-Za-z0-9_.-]+|env:[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: how it is read, its default. `secret`: a source, read by `source`."""

    read: Callable[[Any], Any]
    default: Any = None
    required: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """One remote authority: `options` of its type, where its `secrets` are, and how its endpoint is recognised."""

    type: str
    options: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)  # setting -> source
    tls_roots: str = ""
    tls_fingerprint: str = ""
    issuing_roots: str = ""
    issuing_fingerprints: tuple[str, ...] = ()
    timeout: float = 60.0
    proxy: str = ""
    allow_http: bool = False
    client_cert: str = ""
    client_key: str = ""


def fingerprint(value: Any) -> str:
    """A SHA-256 in hex, colons and capitals allowed."""
    found = text(value).replace(":", "").lower()
    if not FINGERPRINT.fullmatch(found):
        raise ValueError("write a SHA-256 fingerprint: 64 hex digits")
    return found


def fingerprints(value: Any) -> tuple[str, ...]:
    """Several."""
    return tuple(fingerprint(v) for v in texts(value))


def source(value: Any) -> str:
    """Where a secret is: a file, `credential:NAME` of systemd, `env:NAME`."""
    if not isinstance(value, str) or not SOURCE.fullmatch(value):
        raise RedactedValueError('name where it is, never the secret itself: "/path", "credential:NAME" or "env:NAME"')
    return value


def seconds(value: Any) -> float:
    """A duration, as seconds."""
    return duration(value).total_seconds()


def url(value: Any) -> str:
    """An http or https URL without credentials in it."""
    found = text(value)
    try:
        sound = re.fullmatch(r"https?://[^\s/@]+(/\S*)?", found) and urlsplit(found).port != 0
    except ValueError:  # a port that is none
        sound = None
    if not sound:
        raise ValueError('write a URL such as "https://ca.example.com"')
    return found.rstrip("/")


@lru_cache(maxsize=1)
def kinds() -> tuple[str, ...]:
    """The remote types, by the modules of this package."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def settings(kind: str) -> dict[str, Setting]:
    """The settings of a type of its own."""
    found: dict[str, Setting] = importlib.import_module(f"{__name__}.{kind}").SETTINGS
    return found


def _problems(kind: str, made: RemoteConfig) -> Iterable[tuple[str, str]]:
    judge = getattr(importlib.import_module(f"{__name__}.{kind}"), "problems", None)
    return judge(made) if judge else ()


def read(table: Table, kind: str) -> RemoteConfig:
    """One authority's table, all errors collected; `table.done()` is the caller's."""
    options: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for key, setting in settings(kind).items():
        reader = source if setting.secret else setting.read
        value = (table.require if setting.required else table.get)(key, reader, setting.default)
        if setting.secret and value:
            secrets[key] = value
        elif not setting.secret:
            options[key] = value
    made = RemoteConfig(
        kind,
        options,
        secrets,
        tls_roots=table.get("tls_roots", absolute, ""),
        tls_fingerprint=table.get("tls_fingerprint", fingerprint, ""),
        issuing_roots=table.get("issuing_roots", absolute, ""),
        issuing_fingerprints=table.get("issuing_fingerprints", fingerprints, ()),
        timeout=table.get("timeout", duration, timedelta(seconds=60)).total_seconds(),
        proxy=table.get("proxy", url, ""),
        allow_http=table.get("allow_http", flag, False),
        client_cert=table.get("client_cert", absolute, ""),
        client_key=table.get("client_key", absolute, ""),
    )
    if bool(made.client_cert) != bool(made.client_key):
        table.error("client_key", "client_cert and client_key belong together: an enrolment pair of its own")
    for key, setting in settings(kind).items():
        if setting.read is url and options[key] and (why := barred(options[key], allow_http=made.allow_http)):
            table.error(key, why)
    for key, sentence in _problems(kind, made):
        table.error(key, sentence)
    return made
