"""A listening socket for a challenge: from systemd by its name, else bound here.

With a systemd socket no root is needed for a port below 1024: the agent passes it on.
"""

import os
import socket
from collections.abc import Mapping

from certagent.authority.errors import AuthorityError

BACKLOG = 32
FIRST = 3  # sd_listen_fds(3)


def listening(name: str, host: str, port: int, inherited: Mapping[str, int]) -> list[socket.socket]:
    """Given the socket's name with systemd, an address ("": every one) and a port, return what to accept on.

    One of the addresses is enough. Raises AuthorityError where none can be bound.
    """
    if name in inherited:
        return [_handed(name, inherited[name])]
    hosts = [host] if host else ["::", "0.0.0.0"]  # noqa: S104 - the CA comes from anywhere
    found, problem = [], ""
    for one in hosts:
        try:
            found.append(_bound(one, port))
        except OSError as error:
            problem = error.strerror or str(error)
    if not found:
        raise AuthorityError(
            f"cannot listen on port {port} for the challenge: {problem}; use a port to which the CA's requests are"
            f" forwarded, or the systemd socket {name}.socket",
            kind="failed",
        )
    return found


def inherited(environ: Mapping[str, str]) -> dict[str, int]:
    """The sockets that the daemon handed on, by their names with systemd (FileDescriptorName=)."""
    count = environ.get("LISTEN_FDS", "")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    return {name: FIRST + i for i, name in enumerate(names) if name and count.isdigit() and i < int(count)}


def _handed(name: str, fd: int) -> socket.socket:
    try:
        return socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise AuthorityError(f"cannot use the socket {name} of systemd: {error.strerror}") from error


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made
