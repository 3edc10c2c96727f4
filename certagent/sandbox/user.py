"""Whom the confined children of a root agent become: a user that no other service shares, where the host has it."""

import pwd

NAME = "certagent-worker"
OVERFLOW = 65534  # the kernel's overflow uid
_chosen: list[tuple[int, int]] = []  # of this process


def choose(user: tuple[int, int]) -> None:
    """From now on it is this one (uid, gid), as the configuration says."""
    _chosen[:] = [user]


def unprivileged() -> tuple[int, int]:
    """Its uid and gid: the one that was chosen, else `certagent-worker`, else `nobody`, which other services may share.

    A container may have no name at all.
    """
    for name in (NAME, "nobody") if not _chosen else ():
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return account.pw_uid, account.pw_gid
    return _chosen[0] if _chosen else (OVERFLOW, OVERFLOW)
