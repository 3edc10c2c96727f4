"""`type = "vault"`: the PKI engine of Vault or OpenBao."""

from collections.abc import Iterator
from typing import Any

from certagent.config.reader import one_of, takes, text
from certagent.config.remote import CaType, RemoteConfig, Setting, url

NEEDS = {"token": ("token",), "approle": ("role_id", "secret_id"), "cert": ()}


@takes({"type": "string"})
def path(value: Any) -> str:
    """A mount's path, without slashes around it."""
    found = text(value).strip("/")
    if not found or any(c in found for c in "?# ") or ".." in found:
        raise ValueError('write a path such as "pki"')
    return found


def problems(made: RemoteConfig) -> Iterator[tuple[str, str]]:
    """What is wrong between the settings: (key, sentence)."""
    auth = made.options["auth"]
    for key in NEEDS[auth]:
        if key not in made.secrets:
            yield key, f'is required by auth = "{auth}"'
    if auth == "cert" and not made.client_cert:
        yield "client_cert", 'and client_key are required by auth = "cert"'


CA_TYPE = CaType(
    asked="https",
    account=False,
    problems=problems,
    settings={
        "url": Setting(url, required=True),
        "mount": Setting(path, "pki"),
        "role": Setting(path, required=True),  # signs at MOUNT/sign/ROLE
        "issuer": Setting(path, ""),  # a reference; "": the mount's default
        "namespace": Setting(path, ""),
        "auth": Setting(one_of("token", "approle", "cert"), "token"),
        "auth_mount": Setting(path, ""),  # default: the method's name
        "cert_role": Setting(text, ""),  # of auth = "cert": which of its entries; "": any that fits
        "token": Setting(text, secret=True),
        "role_id": Setting(text, secret=True),
        "secret_id": Setting(text, secret=True),
    },
)
