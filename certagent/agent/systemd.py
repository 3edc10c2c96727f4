"""sd_notify: READY, STATUS, WATCHDOG (with each pass of the loop), RELOADING, STOPPING.

Nothing happens without NOTIFY_SOCKET; nothing ever raises.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial


def notify(environ: Mapping[str, str], text: str) -> None:
    """Tell systemd, where it listens."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)


class Notifier:
    """Tells systemd how it goes."""

    def __init__(self, environ: Mapping[str, str], relay: Callable[[str], None] | None = None) -> None:
        """Reads NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID. `relay`: by the parent, whom alone systemd listens to."""
        self._send = relay or partial(notify, environ)
        pid = str(os.getppid() if relay else os.getpid())
        mine = environ.get("WATCHDOG_PID", pid) == pid
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_interval: float | None = int(usec) / 2e6 if usec.isdigit() and mine else None

    def turned(self, text: str, *, ready: bool, alive: bool) -> None:
        """The loop turned: this is how it goes. `ready`: every directory that responds was checked once."""
        words = ["READY=1"] if ready else []
        words += ["WATCHDOG=1"] if alive and self.watchdog_interval is not None else []
        self._send("\n".join([*words, f"STATUS={text}"]))

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """On the way out."""
        self._send("STOPPING=1")
