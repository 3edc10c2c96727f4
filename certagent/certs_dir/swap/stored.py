"""The files of the staging area as values: the key is never part of a representation."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One pair, or one bundle, that is staged or kept as a generation."""

    stem: str
    cert: bytes
    key: bytes | None = field(repr=False)  # None: a bundle, or the live key stays
    at: float  # when its certificate was written
    number: int = 0  # of a generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request that waits for its answer. `key` None: it is the live one."""

    csr: bytes
    key: bytes | None = field(repr=False)
