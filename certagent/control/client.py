"""The client of the control socket. It imports almost nothing: `certagent status` must start fast."""

import json
import os
import socket
import stat
import struct
import time
from collections.abc import Callable
from typing import Any

RETRY = 0.05
TOLD = b'{"told": '  # how a line begins that comes before the answer
Heard = Callable[[dict[str, Any]], None]


class DaemonSilent(Exception):  # noqa: N818 - silence is an answer here, not an error
    """No daemon answers at that socket."""


class DaemonHidden(DaemonSilent):
    """The kernel does not let this user connect to the socket, so whether a daemon runs is not known."""


class StrangerError(Exception):
    """Another user than root, the agent's and our own listens at that socket."""

    def __init__(self, uid: int) -> None:
        """`uid`: who does, by the kernel's word."""
        super().__init__(f"uid {uid}")
        self.uid = uid


class DaemonSlow(Exception):  # noqa: N818 - it may answer yet
    """A daemon runs behind that socket, and gave no answer in time."""


def unheard(_said: dict[str, Any]) -> None:
    """Only the answer counts."""


def ask(
    path: str,
    command: str,
    arguments: dict[str, Any],
    timeout: float = 5.0,
    *,
    owner: int | None = None,
    heard: Heard = unheard,
) -> dict[str, Any]:
    """Send one command and return the answer; a full backlog or a closed door is tried again until the timeout.

    The timeout is in seconds. `owner`: the uid of the agent's user, where it is known. `heard` gets what the agent says
    before the answer, where `stream` is an argument. Raises DaemonSilent where no daemon runs, DaemonHidden where that
    cannot be seen, DaemonSlow where one gives no answer in time, StrangerError where another user listens there: it
    is sent nothing then.
    """
    expected = frozenset({0, os.geteuid(), *(() if owner is None else (owner,))})
    end = time.monotonic() + timeout
    request = json.dumps({"version": 1, "command": command, "args": arguments}).encode() + b"\n"
    while (answer := _tried(path, request, expected, max(0.1, end - time.monotonic()), heard)) is None:
        if time.monotonic() >= end:
            raise DaemonSlow(path)
        time.sleep(RETRY)
    return answer


def _tried(path: str, request: bytes, expected: frozenset[int], timeout: float, heard: Heard) -> dict[str, Any] | None:
    """The answer, None where the daemon is too busy to give one. Raises as `ask` does."""
    try:
        return answer_of(_exchanged(path, request, expected, timeout, heard))
    except (BlockingIOError, ConnectionResetError, BrokenPipeError):
        return None
    except TimeoutError as error:
        raise DaemonSlow(path) from error
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError) and not _no_socket(path):
            raise DaemonHidden(path) from error
        raise DaemonSilent(f"{path}: {error}") from error


def _no_socket(path: str) -> bool:
    """Whether something else is known to be there."""
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _exchanged(path: str, request: bytes, expected: frozenset[int], timeout: float, heard: Heard) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        client.connect(path)
        _pid, uid, _gid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in expected:
            raise StrangerError(uid)
        client.sendall(request)
        answer = b""
        while (told := answer.startswith(TOLD)) or not answer.endswith(b"\n"):
            if told and b"\n" in answer:
                line, _, answer = answer.partition(b"\n")
                heard(json.loads(line)["told"])
            elif part := client.recv(1 << 16):
                answer += part
            else:
                break
    return answer


def answer_of(line: bytes) -> dict[str, Any] | None:
    """Given what the daemon sent, return its answer, None where it closed without a word: it is busy then.

    Raises ValueError for anything else.
    """
    if not line:
        return None
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("malformed answer")
    return found
