"""Reading from a peer that may send anything, or nothing: one deadline for a whole exchange, and a size to each."""

import socket
import time


class Wire:
    """A connection with a deadline (of the monotonic clock)."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        """The connection may be a TLS one."""
        self._connection, self._end = connection, end

    def _left(self) -> socket.socket:
        """The connection, which waits until the deadline at most. Raises TimeoutError."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left)
        return self._connection

    def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""
        self._left().sendall(data)

    def some(self, most: int) -> bytes:
        """What arrives next; b"" at the end. Raises OSError."""
        return self._left().recv(most)

    def exactly(self, size: int) -> bytes:
        """So many bytes, or fewer where the peer ends. Raises OSError."""
        data = bytearray()
        while len(data) < size and (part := self.some(size - len(data))):
            data += part
        return bytes(data)
