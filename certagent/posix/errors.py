"""The exception for an operation on the host that failed."""


class HostError(Exception):
    """An effect failed. The message says what failed and names the file and the remedy."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        """`errno` where the kernel gave one."""
        super().__init__(message)
        self.errno = errno


class StoppingError(HostError):
    """What failed was ended because this process stops."""


class IrregularFileError(OSError):
    """Not a regular file, or larger than the limit: not read."""


def reason(error: Exception) -> str | None:
    """Why an operation failed: of an OSError what the kernel says, without the number and the path."""
    return error.strerror if isinstance(error, OSError) else str(error)
