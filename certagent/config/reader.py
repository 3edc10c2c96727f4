"""Read one table: every key once, with its type and default; all mistakes are collected."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")
D = TypeVar("D")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MOST = 1000
UNKNOWN_SETTING = "unknown setting"
LONGEST_SHOWN = 100  # of a value that is wrong
DURATION = re.compile(r"(\d+)([smhd])")


Shape = dict[str, Any]  # what a reader takes, as a JSON Schema
Reader = TypeVar("Reader", bound=Callable[[Any], Any])
SHAPES: dict[Callable[[Any], Any], Shape] = {}  # of each reader: it stands beside the reader
LIST: Shape = {"type": ["string", "array"], "items": {"type": "string"}}
DURATION_SHAPE: Shape = {"type": "string", "pattern": "^[0-9]*[1-9][0-9]*[smhd]$"}


def takes(shape: Shape) -> Callable[[Reader], Reader]:
    """Note what a reader takes."""

    def noted(read: Reader) -> Reader:
        SHAPES[read] = shape
        return read

    return noted


class ConfigError(Exception):
    """All errors of a configuration."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        """Each error names the file, the key and the remedy."""
        super().__init__("; ".join(errors))
        self.errors = errors


class RedactedValueError(ValueError):
    """An invalid value that the message does not repeat: it may be a secret in the wrong place, or is named already."""


@takes(DURATION_SHAPE)
def duration(value: Any) -> timedelta:
    """Given "20s", "15m", "6h" or "30d", return it. Raises ValueError."""
    found = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found or found[1].strip("0") == "":
        raise ValueError('write a duration such as "20s", "15m", "6h" or "30d"')
    if int(found[1]) * UNITS[found[2]] > 100 * 365 * 86400:
        raise ValueError("must not be longer than a hundred years")
    return timedelta(seconds=int(found[1]) * UNITS[found[2]])


@dataclass(frozen=True, slots=True)
class Asked:
    """A key that was asked for: by which reader, with which default; without a reader a table below."""

    read: Callable[[Any], Any] | None = None
    default: Any = None
    required: bool = False


class Table:
    """One table of the document; `done()` reports the unknown keys."""

    def __init__(self, path: str, values: Any, errors: list[str]) -> None:
        """`errors` is shared by all tables of a document."""
        self.path, self.errors = path, errors
        self.values: Mapping[str, Any] = values if isinstance(values, dict) else {}
        self.settings: dict[str, Asked] = {}
        if not isinstance(values, dict):
            self.error("", "must be a table")

    def error(self, key: str, message: str) -> None:
        """Note an error at a key."""
        self.errors.append(f"{self._of(key)}: {message}")

    def get(self, key: str, read: Callable[[Any], T], default: D) -> T | D:
        """The value of a key by its reader, or the default; a ValueError of the reader is the error."""
        self.settings.setdefault(key, Asked(read, default))
        if key not in self.values:
            return default
        try:
            return read(self.values[key])
        except RedactedValueError as error:
            self.error(key, str(error))
        except ValueError as error:
            self.error(key, f"{error} (it is {_clipped(repr(self.values[key]))})")
        return default

    def require(self, key: str, read: Callable[[Any], T], default: T) -> T:
        """As `get`, but the key must be there."""
        self.settings[key] = Asked(read, default, required=True)
        if key not in self.values:
            self.error(key, "is required")
        return self.get(key, read, default)

    def sub(self, key: str) -> "Table":
        """A table below; empty where it is missing."""
        self.settings[key] = Asked()
        return Table(f"{self.path}.{key}" if self.path else key, self.values.get(key, {}), self.errors)

    def meant(self, key: str) -> "Table":
        """As `sub`; where it is missing, the one that is probably meant, so that one typo is one error.

        `done` reports its name.
        """
        self.settings[key] = Asked()
        near = [] if key in self.values else difflib.get_close_matches(key, self.values, 1)
        return Table(near[0], self.values[near[0]], self.errors) if near else self.sub(key)

    def done(self) -> None:
        """Report unknown keys, with a suggestion if one is similar; that one is then not called missing as well."""
        for key in (k for k in self.values if k not in self.settings):
            near = difflib.get_close_matches(key, self.settings, 1)
            for name in (n for n in near if n not in self.values):
                self.errors[:] = [e for e in self.errors if not e.startswith(f"{self._of(name)}: ")]
            self.error(key, f"{UNKNOWN_SETTING}{meant(key, self.settings)}")

    def _of(self, key: str) -> str:
        """The path of a key."""
        return ".".join(p for p in (self.path, key) if p)


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a message about a word that is not known: which one may be meant."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _clipped(shown: str) -> str:
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."


@takes({"type": "string"})
def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


@takes({"type": "string", "pattern": "^/"})
def absolute(value: Any) -> str:
    """An absolute path, without a trailing slash."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("must be an absolute path")
    return value.rstrip("/") or "/"


@takes({"type": "boolean"})
def flag(value: Any) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


@takes(LIST)
def texts(value: Any) -> tuple[str, ...]:
    """A list of strings, or one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError("must be a list of strings")
    return tuple(value)


@dataclass(frozen=True, slots=True)
class OneOf:
    """Reads one of some words."""

    allowed: tuple[str, ...]

    def __call__(self, value: Any) -> Any:
        """The word. Raises ValueError."""
        if value not in self.allowed:
            raise ValueError(f"must be one of {', '.join(self.allowed)}{meant(str(value), self.allowed)}")
        return str(value)


def one_of(*allowed: str) -> OneOf:
    """One of some words."""
    return OneOf(allowed)


@takes({"type": "string", "pattern": "^0?[0-7][04]0$"})
def mode(value: Any) -> int:
    """An octal mode as text, within 0740."""
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError('write a mode such as "0600"')
    if int(value, 8) & ~0o740:
        raise ValueError("wider than cockroach accepts: 0700, or 0740 for a key of root with the group of the process")
    return int(value, 8)


@takes({"type": "integer", "minimum": 1, "maximum": MOST})
def count(value: Any) -> int:
    """A whole number from 1 to 1000."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise ValueError("must be a whole number from 1 to 1000")
    return value
