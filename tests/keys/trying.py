"""A child that gives up its rights as one with keys does, and tries what it must not be able to do."""

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from certagent.keys.child import PROCESSOR, PROFILE
from certagent.sandbox import confine

LIBRARIES = ("certagent.keys",)


def tried(path: str) -> dict[str, Callable[[], object]]:
    """What a thief of keys would do, by names."""
    return {
        "TCP": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "read": lambda: Path(path).read_bytes(),
        "write": lambda: Path(f"{path}.new").write_bytes(b""),
        "temporary": lambda: Path("/tmp/certagent-stolen").write_bytes(b""),
        "environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 - it must fail
        "child": os.fork,
        "signal": lambda: os.kill(os.getppid(), 0),
        "session": os.setsid,
    }


def is_open(fd: int) -> bool:
    """Whether there is such a descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def answer(question: dict[str, Any], files: list[int]) -> None:
    """Answer with the names of what could be done."""
    confine(PROFILE, None, "", PROCESSOR)
    done = [f"descriptor {fd}" for fd in range(3, 256) if fd not in files and is_open(fd)]
    done += [f"socket {fd}" for fd in range(3) if is_open(fd) and stat.S_ISSOCK(os.fstat(fd).st_mode)]
    for name, attempt in tried(question["path"]).items():
        try:
            attempt()
            done.append(name)
        except OSError:
            continue
    with socket.socket(fileno=files[0]) as agent:
        agent.send(json.dumps(done).encode())
