"""Secrets of authorities, read again for each request: a file, a systemd credential, a variable of the environment.

Rejected: keeping them. This way a token file that another program refreshes is always current, and a memory image of
the agent contains no secret.
"""

import os
import stat
from collections.abc import Iterable, Mapping

from certagent.posix.errors import HostError
from certagent.posix.trusted import distrust

LIMIT = 1 << 16  # of a secret
PRIVATE = "PRIVATE KEY-----"
LARGEST = 1 << 20  # of a bundle of roots
OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def read_secret(setting: str, source: str, environ: Mapping[str, str], others: Iterable[int] = ()) -> str:
    """Given a setting and where it says its secret is, return it without white space around. Raises HostError."""
    kind, _, name = source.partition(":")
    if kind == "env":
        value = environ.get(name, "")
        if not value:
            raise HostError(f"cannot read {setting}: the agent's environment has no {name}")
        return value.strip()
    if kind == "credential":
        directory = environ.get("CREDENTIALS_DIRECTORY", "")
        if not directory:
            raise HostError(f"cannot read {setting}: {_without_credentials(setting, name, environ)}")
        source = os.path.join(directory, name)
    return token_of(setting, source, read_file(setting, source, LIMIT, others))


def _without_credentials(setting: str, name: str, environ: Mapping[str, str]) -> str:
    """Given a setting of an authority and its credential, return why there is none, and what to do."""
    if environ.get("INVOCATION_ID"):
        return f"systemd passed no credentials; add LoadCredential={name}:/path to the unit"
    authority = setting.removeprefix("authority.").rpartition(".")[0]
    return (
        f"only the running agent has systemd's credentials: start it, then certagent authority test {authority} asks it"
    )


def token_of(setting: str, path: str, text: str) -> str:
    """Given what a file contains, return the secret without white space around. HostError where it is a private key.

    A token is sent to the CA, and a private key never leaves this host.
    """
    if PRIVATE in text:
        raise HostError(f"cannot use {setting}: {path} contains a private key, which would be sent to the CA")
    return text.strip()


def has_private_key(path: str) -> bool:
    """Whether a small regular file, where we may read it, is none whose content may be sent to a CA."""
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, OPEN)) as file:
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and PRIVATE.encode() in file.read(LIMIT)
    except OSError:
        return False


def read_file(setting: str, path: str, limit: int = LARGEST, others: Iterable[int] = ()) -> str:
    """A small regular file as text. Raises HostError, which names the setting and never quotes the file.

    `others`: uids that are trusted besides root's and this process's.
    """
    try:
        if problem := distrust(path, others):
            raise HostError(f"cannot use {setting}: {problem}")
        fd = os.open(path, OPEN)
    except OSError as error:
        raise HostError(f"cannot read {setting}: {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise HostError(f"cannot read {setting}: {path} is not a regular file")
    with os.fdopen(fd, "rb") as file:
        data = file.read(limit + 1)
    return text_of(setting, path, data, limit)


def text_of(setting: str, path: str, data: bytes, limit: int) -> str:
    """Given what was read of a file, one byte more than the limit at most, return it as text. Raises HostError."""
    if len(data) > limit:
        raise HostError(f"cannot read {setting}: {path} is larger than {limit} bytes")
    if not data.strip():
        raise HostError(f"cannot read {setting}: {path} is empty")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise HostError(f"cannot read {setting}: {path} is not text") from error
