"""Users of this host by name."""

import pwd


def name_of(uid: int) -> str:
    """The name of a user, its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def exists(user: str) -> bool:
    """Whether this host has a user of that name, or number, as systemd reads it."""
    if user.isdigit():
        return True  # it needs no account
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
