"""The one error of the authorities, typed by who can act."""

from datetime import datetime


class AuthorityError(Exception):
    """A certificate that could not be had.

    `refused`: by policy, asking again changes nothing; else the CA was not reachable or not well.
    """

    def __init__(
        self, message: str, *, retryable: bool = True, refused: bool = False, retry_at: datetime | None = None
    ) -> None:
        """The message starts with "cannot" and names the remedy; `retry_at` is the CA's Retry-After."""
        super().__init__(message)
        self.retryable = retryable
        self.refused = refused
        self.retry_at = retry_at
