"""The one error of the host's effects."""


class HostError(Exception):
    """An effect that could not be had. The message starts with "cannot" and names the file and the remedy."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        """`errno` where the kernel gave one."""
        super().__init__(message)
        self.errno = errno
