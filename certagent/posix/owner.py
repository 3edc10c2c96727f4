"""Users of this host by name."""

import os
import pwd
from contextlib import suppress


def name_of(uid: int) -> str:
    """The name of a user, its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def running_as(pid: int | str) -> str:
    """Whom a process runs as; "" where there is none."""
    try:
        return name_of(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return ""


def exists(user: str) -> bool:
    """Whether this host has a user of that name, or number, as systemd reads it."""
    if user.isdigit():
        return True  # it needs no account
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def uids_of(*users: str) -> list[int]:
    """The numbers of those of them that this host has."""
    found = []
    for user in users:
        with suppress(KeyError):
            found.append(pwd.getpwnam(user).pw_uid)
    return found
