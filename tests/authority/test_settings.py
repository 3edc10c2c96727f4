"""The settings of step, vault and cfssl: what is wrong between them is said when the configuration is read."""

from typing import Any

import pytest

from certagent.config import remote
from certagent.config.reader import Table

BASE: dict[str, dict[str, Any]] = {
    "step": {"url": "https://ca.example.com:9000", "provisioner": "hosts"},
    "vault": {"url": "https://vault.example.com:8200", "role": "cockroach"},
    "cfssl": {"url": "https://cfssl.example.com:8888"},
}


def errors(kind: str, values: dict[str, Any]) -> list[str]:
    found: list[str] = []
    table = Table("authority.pki", BASE[kind] | values, found)
    remote.read(table, kind)
    table.done()
    return found


ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("step", {}, "provisioner_key: is required, or x5c_cert and x5c_key, or one_time_token"),
    ("step", {"one_time_token": "/t"}, 'one_time_token with renewal = "live"'),
    ("step", {"x5c_cert": "/c"}, "x5c_key: x5c_cert and x5c_key belong together"),
    ("step", {"provisioner_key": "/k", "x5c_cert": "/c", "x5c_key": "/k"}, "provisioner_key: a provisioner is either"),
    ("step", {"provisioner_key": "/k", "credential": "leaf"}, 'credential: belongs to renewal = "live"'),
    ("step", {"provisioner_key": '{"kty": "EC"}'}, "provisioner_key: name where it is, never the secret itself"),
    ("step", {"provisioner_key": "/k", "root": "abc"}, "root: write a SHA-256 fingerprint"),
    ("vault", {}, 'token: is required by auth = "token"'),
    ("vault", {"auth": "approle", "role_id": "/r"}, 'secret_id: is required by auth = "approle"'),
    ("vault", {"auth": "cert"}, 'client_cert: is required by auth = "cert"'),
    ("vault", {"auth": "aprole"}, "did you mean 'approle'?"),
    ("vault", {"token": "/t", "mount": "../sys"}, "mount: write a path"),
    ("vault", {"token": "/t", "url": "https://v:99999"}, "url: write a URL"),
    ("vault", {"token": "/t", "url": "https://v:https"}, "url: write a URL"),
    ("vault", {"token": "/t", "url": "https://me:secret@v"}, "url: write a URL"),
    ("cfssl", {}, "auth_key: is required"),
    ("cfssl", {"auth_key": "/k", "profil": "node"}, "did you mean 'profile'?"),
]


@pytest.mark.parametrize(("kind", "values", "message"), ROWS, ids=[f"{r[0]}-{i}" for i, r in enumerate(ROWS)])
def test_what_is_wrong(kind: str, values: dict[str, Any], message: str) -> None:
    """Each mistake is one error with its key path."""
    found = errors(kind, values)
    assert [e for e in found if e.startswith("authority.pki.") and message in e], found


SOUND: list[tuple[str, dict[str, Any]]] = [
    ("step", {"provisioner_key": "env:KEY", "provisioner_password": "credential:step"}),
    ("step", {"x5c_cert": "/c", "x5c_key": "/k"}),
    ("step", {"one_time_token": "/t", "renewal": "live"}),
    ("step", {"renewal": "live", "credential": "leaf"}),
    ("vault", {"token": "/run/token", "namespace": "/team/", "mount": "/pki/"}),
    ("vault", {"auth": "cert", "client_cert": "/c", "client_key": "/k"}),
    ("cfssl", {"auth_key": "credential:cfssl", "url": "http://127.0.0.1:8888/"}),
]


@pytest.mark.parametrize(("kind", "values"), SOUND, ids=[f"{r[0]}-{i}" for i, r in enumerate(SOUND)])
def test_what_is_sound(kind: str, values: dict[str, Any]) -> None:
    """Every way to show who we are."""
    assert errors(kind, values) == []
