"""Names are resolved by a child process that holds no secret: the worker itself can then do without UDP.

No filter can see to whom a datagram goes, and Landlock judges TCP alone. A worker with UDP could send what it knows to
anybody. The child is made before the worker reads its question, gives up the same rights, and ends with the worker:
it is in the same process group, and nothing leaves that. Rejected: DNS over TCP alone (`use-vc`), which some networks
block; and resolving everything before the rights are dropped, since a CA names further hosts in its answers.
"""

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from certagent.sandbox.confining import Profile, confine

LONGEST = 1 << 16
MOST_FILES = 1024
Row = tuple[int, int, int, str, tuple[Any, ...]]


def start(user: tuple[int, int] | None, seconds: float) -> None:
    """From now on socket.getaddrinfo of this process asks the child. Raises OSError where none can be made.

    `user` (uid, gid): whom root becomes. `seconds` of processor time at most. Libraries take no resolver of ours, so
    the function itself is replaced.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        with suppress(OSError, KeyboardInterrupt):
            ours.close()
            _serve(theirs, user, seconds)
        os._exit(0)
    theirs.close()
    socket.getaddrinfo = asking(ours)  # type: ignore[assignment]


def _serve(questions: socket.socket, user: tuple[int, int] | None, seconds: float) -> None:
    """Answer until the worker is gone."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):  # the question and its secrets arrive on 0
        os.dup2(nothing, fd)
    os.closerange(3, questions.fileno())
    os.closerange(questions.fileno() + 1, MOST_FILES)
    confine(Profile(datagrams=True), user, "", seconds)
    while question := questions.recv(LONGEST):
        questions.send(answered(question))


def answered(question: bytes) -> bytes:
    """Given the arguments of getaddrinfo as JSON, return what it returned or raised, as JSON."""
    try:
        found: Any = socket.getaddrinfo(*json.loads(question))
    except socket.gaierror as error:
        return json.dumps({"gaierror": [error.errno, error.strerror]}).encode()
    except (OSError, ValueError) as error:  # UnicodeError, for a name that cannot be one, is a ValueError
        return json.dumps({"gaierror": [socket.EAI_NONAME, str(error)]}).encode()
    return json.dumps({"rows": found}).encode()


def asking(answers: socket.socket) -> Callable[..., list[Row]]:
    """Given the way to the child, return what stands for getaddrinfo."""

    def getaddrinfo(
        host: str | bytes | None,
        port: str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the signature of socket.getaddrinfo
        proto: int = 0,
        flags: int = 0,
    ) -> list[Row]:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        answers.send(json.dumps([name, port, family, type, proto, flags]).encode())
        return rows_of(answers.recv(LONGEST))

    return getaddrinfo


def rows_of(answer: bytes) -> list[Row]:
    """Given the child's answer, return the rows of getaddrinfo. Raises socket.gaierror."""
    document: dict[str, Any] = json.loads(answer) if answer else {"gaierror": [socket.EAI_FAIL, "the resolver ended"]}
    if "gaierror" in document:
        raise socket.gaierror(*document["gaierror"])
    return [
        (socket.AddressFamily(family), socket.SocketKind(kind), proto, name, tuple(address))
        for family, kind, proto, name, address in document["rows"]
    ]
