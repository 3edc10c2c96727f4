"""A process that has imported everything the agent needs, and forks one agent for each order it reads.

An order is one line of JSON on stdin: the words of the command line, variables, and the file for what it prints. The
child becomes the one whose calls count. The answers are lines on stdout: the child's pid, then how it ended.

The system's roots are parsed here already, and the garbage collector leaves out what is here: each agent would do both
at its start, which was two thirds of what it computed.
"""

import gc
import importlib
import json
import os
import pkgutil
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from typing import Any

import certagent
from certagent.certs_dir.system_roots import load
from certagent.cli import main


def imported() -> None:
    """Everything but the programs that run when they are imported, and the demo."""
    for module in pkgutil.walk_packages(certagent.__path__, "certagent."):
        if not module.name.endswith(("__main__", ".worker", "_child", ".child")) and ".demo" not in module.name:
            importlib.import_module(module.name)


def child(order: dict[str, Any]) -> int:
    """Become the agent."""
    os.environ.update(order["environ"])
    out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with open(os.environ["CALLS_PAGE"], "r+b") as page:
        page.write(struct.pack("=i", os.getpid()))
    code = main(order["words"])
    with suppress(OSError):  # where the log itself is what fails
        looks = [Counter(opened()), *(Counter(opened()) for _ in range(3) if not threading.Event().wait(0.005))]
        left = reduce(lambda one, other: one & other, looks)  # what a thread reads just now is closed by itself
        print(json.dumps({"event": "descriptors", "open": list(left.elements())}), flush=True)
    return code


def opened() -> Iterator[str]:
    """What each descriptor of this process leads to."""
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{fd}")


def ended(code: int) -> None:
    """As an interpreter ends, without what the parent's copy would do twice."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def serve() -> None:
    """One child for each line, one at a time."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                ended(child(json.loads(line)))
            except BaseException:  # noqa: BLE001 - a child never returns into the nursery
                sys.excepthook(*sys.exc_info())
                ended(70)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    imported()
    load()
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    serve()
