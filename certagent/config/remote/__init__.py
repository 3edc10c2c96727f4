"""The types of CA that the agent asks: one module per type, each with one value that describes the type.

A module here is named after its type, as its backend in authority/backends is, and has CA_TYPE: its settings, and
everything that the agent must know of the type before it asks such a CA. The settings that every type takes are below.
Values are JSON-able: they are passed to the worker unchanged. A secret setting names where the secret is (a file, a
systemd credential, a variable of the environment): it is read for each request, and never kept.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

from certagent.config.reader import (
    DURATION_SHAPE,
    RedactedValueError,
    Shape,
    Table,
    absolute,
    duration,
    flag,
    takes,
    text,
    texts,
)
from certagent.core.endpoints import barred

FINGERPRINT = re.compile(r"[0-9a-f]{64}")
SOURCE = re.compile(r"/[^\0]*|credential:[A-Za-z0-9_.-]+|env:[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: how it is read, its default. `secret`: a source, read by `source`.

    `opens`: it names a path that a worker may read or write below, so it must not lead to a managed key.
    """

    read: Callable[[Any], Any]
    default: Any = None
    required: bool = False
    secret: bool = False
    opens: bool = False


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """One remote authority: `options` of its type, where its `secrets` are, and how its endpoint is recognised."""

    type: str
    options: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)  # setting -> source
    tls_roots: str = ""
    tls_fingerprints: tuple[str, ...] = ()
    issuing_roots: str = ""
    issuing_fingerprints: tuple[str, ...] = ()
    timeout: float = 60.0
    proxy: str = ""
    allow_http: bool = False
    client_cert: str = ""
    client_key: str = ""

    @property
    def ca_type(self) -> "CaType":
        """The description of its type."""
        return ca_type(self.type)

    @property
    def traits(self) -> "Traits":
        """What the daemon must know of it, as it is configured."""
        return self.ca_type.traits(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What the daemon must know of one authority, which depends on its settings."""

    common_name: bool = True  # its requests carry a common name
    challenge: str = ""  # where the challengePassword of its requests is; "": they carry none
    listens: bool = False  # a worker answers on a port, which two workers cannot share
    by_leaf: bool = False  # a worker is handed the managed pair as a credential
    windows: bool = False  # the CA says when to renew
    own_trust: bool = False  # its endpoint needs no tls_roots: a public CA's, or recognised by a setting of its type
    files: tuple[str, ...] = ()  # files to read, in addition to secrets and the files of every type


@dataclass(frozen=True, kw_only=True, slots=True)
class CaType:
    """Everything that the agent must know of a type of CA before it asks one.

    What would go wrong silently if a new type did not say it has no default.
    """

    settings: Mapping[str, Setting]
    asked: Literal["https", "program", "files"]  # by a worker; "files": by the agent's own job, without network
    account: bool  # the first request registers an account with the CA: no other request runs at the same time
    extras: tuple[str, ...] = ()  # modules that only the extra TYPE of pyproject.toml brings
    live_proof: str = ""  # the module of authority/backends with `live_token`: what the daemon signs with the live key
    problems: Callable[[RemoteConfig], Iterable[tuple[str, str]]] = lambda _: ()  # between settings: (key, sentence)
    traits: Callable[[RemoteConfig], Traits] = lambda _: Traits()


FINGERPRINT_SHAPE: Shape = {"type": "string", "pattern": "^([0-9A-Fa-f]{2}:?){32}$"}


@takes(FINGERPRINT_SHAPE)
def fingerprint(value: Any) -> str:
    """A SHA-256 in hex, colons and capitals allowed."""
    found = text(value).replace(":", "").lower()
    if not FINGERPRINT.fullmatch(found):
        raise ValueError("write a SHA-256 fingerprint: 64 hex digits")
    return found


@takes({"type": ["string", "array"], "pattern": FINGERPRINT_SHAPE["pattern"], "items": FINGERPRINT_SHAPE})
def fingerprints(value: Any) -> tuple[str, ...]:
    """One, or several: what is pinned changes while the old one is still in use."""
    return tuple(fingerprint(v) for v in texts(value))


@takes({"type": "string", "pattern": "^(/.*|credential:[A-Za-z0-9_.-]+|env:[A-Za-z_][A-Za-z0-9_]*)$"})
def source(value: Any) -> str:
    """Where a secret is: a file, `credential:NAME` of systemd, `env:NAME`."""
    if not isinstance(value, str) or not SOURCE.fullmatch(value):
        raise RedactedValueError(
            'name where the secret is, not the secret itself: "/path", "credential:NAME" or "env:NAME"'
        )
    return value


@takes(DURATION_SHAPE)
def seconds(value: Any) -> float:
    """A duration, as seconds."""
    return duration(value).total_seconds()


@takes({"type": "string", "pattern": "^https?://[^\\s/@]+(/\\S*)?$"})
def url(value: Any) -> str:
    """An http or https URL without credentials in it."""
    found = text(value)
    try:
        sound = re.fullmatch(r"https?://[^\s/@]+(/\S*)?", found) and urlsplit(found).port != 0
    except ValueError:  # an invalid port
        sound = None
    if not sound:
        raise ValueError('write a URL such as "https://ca.example.com"')
    return found.rstrip("/")


@lru_cache(maxsize=1)
def kinds() -> tuple[str, ...]:
    """The types, by the modules of this package."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


@lru_cache
def ca_type(kind: str) -> CaType:
    """The description of a type."""
    found: CaType = importlib.import_module(f"{__name__}.{kind}").CA_TYPE
    return found


def read(table: Table, kind: str) -> RemoteConfig:
    """One authority's table, all errors collected; `table.done()` is the caller's."""
    described = ca_type(kind)
    options: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for key, setting in described.settings.items():
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
        tls_fingerprints=table.get("tls_fingerprint", fingerprints, ()),
        issuing_roots=table.get("issuing_roots", absolute, ""),
        issuing_fingerprints=table.get("issuing_fingerprints", fingerprints, ()),
        timeout=table.get("timeout", duration, timedelta(seconds=60)).total_seconds(),
        proxy=table.get("proxy", url, ""),
        allow_http=table.get("allow_http", flag, False),
        client_cert=table.get("client_cert", absolute, ""),
        client_key=table.get("client_key", absolute, ""),
    )
    if bool(made.client_cert) != bool(made.client_key):
        table.error("client_key", "client_cert and client_key belong together: set both or neither")
    for key, setting in described.settings.items():
        if setting.read is url and options[key] and (why := barred(options[key], allow_http=made.allow_http)):
            table.error(key, why)
    told = tuple(table.errors)  # a setting that cannot be read is not missing as well
    for key, sentence in described.problems(made):
        if not any(error.startswith(f"{table.path}.{key}: ") for error in told):
            table.error(key, sentence)
    return made
