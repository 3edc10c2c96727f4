"""systemd's journal by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): fields to filter and to alert by.

Rejected: systemd-python and cysystemd. Both are compiled against systemd's C headers, which a database host does not
have, for what is one datagram.
"""

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from certagent.events.catalogue import message_id

SOCKET = "/run/systemd/journal/socket"
PRIORITIES = {"error": 3, "warning": 4, "info": 6}  # syslog(3)
ROOM = 8 << 20  # of the socket's buffer, as libsystemd asks for
WITHIN = 0.2  # seconds that an entry waits for a journal that is busy
TOO_LARGE = {errno.EMSGSIZE, errno.ENOBUFS}
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
OWN = {"ts": "TIMESTAMP", "certs_dir": "DIR"}  # the name of a field, where it is not that of the JSON line


def entry(row: Mapping[str, Any], message: str) -> bytes:
    """Given what is written of an event, and the sentence for people, return the entry of the journal."""
    fields = {
        "MESSAGE": message,
        "MESSAGE_ID": message_id(row["event"]),
        "PRIORITY": PRIORITIES[row["level"]],
        "SYSLOG_IDENTIFIER": "certagent",
        **{f"CERTAGENT_{OWN.get(key, key.upper())}": value for key, value in row.items() if key not in {"host", "pid"}},
    }
    return b"".join(_field(name, str(value).encode("utf-8", "replace")) for name, value in fields.items())


def _field(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


class Journal:
    """The socket of the journal. Nobody waits for it: an entry that it does not take is written elsewhere."""

    def __init__(self, path: str = SOCKET) -> None:
        """Connects to nothing: a journal that starts again is found again."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        self._socket.settimeout(WITHIN)

    def send(self, data: bytes) -> bool:
        """Whether the journal took an entry."""
        try:
            self._socket.sendto(data, self._path)
        except OSError as error:
            return error.errno in TOO_LARGE and self._sent_as_file(data)
        return True

    def _sent_as_file(self, data: bytes) -> bool:
        """What is too large for a datagram is passed as a sealed file in memory."""
        try:
            fd = os.memfd_create("certagent-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError:
            return False
        try:
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(data)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))
            self._socket.sendmsg([b""], [rights], 0, self._path)  # send_fds of Python 3.11 ignores the address
        except OSError:
            return False
        finally:
            os.close(fd)
        return True
