"""A child that is ready, and ends when it is asked something."""

import os
import socket
from typing import Any

from certagent.keys.child import READY

LIBRARIES = ("certagent.keys",)


def answer(_question: dict[str, Any], files: list[int]) -> None:
    """Say that it is ready, take a request and end."""
    with socket.socket(fileno=files[0]) as agent:
        agent.send(READY)
        agent.recv(32)
        os._exit(1)
