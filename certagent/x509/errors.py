"""The one exception of this package, and what cryptography may raise.

cryptography parses lazily: a certificate that loads may raise at any accessor, and not only ValueError.
Rejected: catching Exception, which would hide our own mistakes as "unparsable".
"""

from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import (
    AttributeNotFound,
    DuplicateExtension,
    ExtensionNotFound,
    InvalidVersion,
    UnsupportedGeneralNameType,
)

REFUSALS = (
    ValueError,
    TypeError,
    OverflowError,
    NotImplementedError,
    UnsupportedAlgorithm,
    InvalidSignature,
    InvalidVersion,
    DuplicateExtension,
    ExtensionNotFound,
    AttributeNotFound,
    UnsupportedGeneralNameType,
)

Kind = Literal["empty", "unparsable", "unread"]  # unread: Go loads it, and we cannot


class X509Error(Exception):
    """Bytes that are not what they should be; `message` is one sentence without a byte of key material."""

    def __init__(self, kind: Kind, message: str) -> None:
        """Given the finding's last word and the sentence, make the error."""
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message


def reason_of(error: BaseException) -> str:
    """Given what cryptography raised, return its first line, printable and bounded."""
    lines = str(error).splitlines() or [type(error).__name__]
    return shown(lines[0])[:160] or type(error).__name__


def shown(text: str) -> str:
    """A certificate's words as they may reach a log or a terminal: nothing in them but what can be printed."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
