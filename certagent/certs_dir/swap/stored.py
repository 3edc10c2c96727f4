"""The files of the staging area as values; a key is a descriptor."""

from dataclasses import dataclass

from certagent.core.facts import KeyFile
from certagent.keys import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One pair, or one bundle, that is staged or is a generation."""

    stem: str
    cert: bytes
    key: Key | None  # None: a bundle, or the live key stays
    at: float  # when its certificate was written
    number: int = 0  # of a generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One generation as it is listed: of its key what may be known, for there may be hundreds."""

    stem: str
    cert: bytes
    key: KeyFile | None
    at: float
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request that waits for its answer. `key` None: it is the live one."""

    csr: bytes
    key: Key | None
