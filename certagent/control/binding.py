"""The socket's place in the file system: who may stand there, and the modes it has from its first moment."""

import os
import socket
import stat
from contextlib import suppress
from typing import Literal

from certagent.control.admission import Others
from certagent.control.standing import unusable
from certagent.posix.errors import HostError

LONGEST_PATH = 107
IN_THE_WAY = {  # a file at the socket's path: why it is kept; "": it is removed
    "abandoned": "",
    "answers": "another certagent answers there",
    "no socket": "another file that is not a socket is there; remove it",
}


def bound(path: str, *, others: Others) -> socket.socket:
    """Return a listening socket at the path; one that a dead daemon left there is replaced.

    Its mode is set before it is bound, so that it never exists with a wider one than configured. Raises HostError if
    another agent answers there, if the file there is not a socket, or if the directory cannot be made.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise HostError(f"cannot bind {path}: longer than {LONGEST_PATH} bytes; set `socket` to a shorter path")
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
    except OSError as error:
        raise HostError(f"cannot bind {path}: cannot make {folder}: {unusable(path, error)}") from error
    _clear(path)
    return _listening(path, 0o666 if others == "read-only" else 0o600)


def _listening(path: str, mode: int) -> socket.socket:
    """A socket at a path where nothing stands. Raises HostError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(path)
        os.chmod(path, mode)  # one that others may read: SO_PEERCRED decides which commands a user may send
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise HostError(f"cannot bind {path}: {unusable(path, error)}", error.errno) from error
    return listener


def _clear(path: str) -> None:
    """Remove the socket of a daemon that is gone."""
    try:
        with suppress(FileNotFoundError):
            if problem := IN_THE_WAY[_standing(path)]:
                raise HostError(f"cannot bind {path}: {problem}")
            os.unlink(path)
    except OSError as error:
        raise HostError(f"cannot bind {path}: {unusable(path, error)}", error.errno) from error


def _standing(path: str) -> Literal["abandoned", "answers", "no socket"]:
    """The file at a path. Raises OSError, FileNotFoundError if there is none."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return "no socket"
    return "answers" if _answered(path) else "abandoned"


def _answered(path: str) -> bool:
    """Whether a process accepts connections at a socket. Raises OSError if that is not known."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(1)
        try:
            knock.connect(path)
        except ConnectionRefusedError:
            return False
    return True
