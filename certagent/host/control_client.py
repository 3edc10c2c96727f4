"""The client of the control socket. Imports next to nothing: `certagent status` must start fast."""

import json
import socket
import time
from typing import Any

RETRY = 0.05


class DaemonSilent(Exception):  # noqa: N818 - silence is an answer here, not an error
    """No daemon answers at that socket."""


def ask(path: str, command: str, arguments: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Send one command and return the answer; a full backlog or a closed door is tried again until the timeout.

    The timeout is in seconds. Raises DaemonSilent.
    """
    end = time.monotonic() + timeout
    request = json.dumps({"version": 1, "command": command, "args": arguments}).encode() + b"\n"
    while True:
        try:
            return _once(path, request, max(0.1, end - time.monotonic()))
        except (BlockingIOError, ConnectionResetError, BrokenPipeError) as error:
            if time.monotonic() >= end:
                raise DaemonSilent(path) from error
            time.sleep(RETRY)
        except (OSError, ValueError) as error:
            raise DaemonSilent(f"{path}: {error}") from error


def _once(path: str, request: bytes, timeout: float) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        client.connect(path)
        client.sendall(request)
        answer = b""
        while not answer.endswith(b"\n"):
            part = client.recv(1 << 16)
            if not part:
                break
            answer += part
    if not answer:
        raise BlockingIOError("closed without a word: it is busy")
    found = json.loads(answer)
    if not isinstance(found, dict):
        raise ValueError("not an answer")
    return found
