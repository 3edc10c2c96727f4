"""How much of one certs directory is examined in one check, so that no content of a directory can stall the agent.

No real directory comes near: ten thousand pairs are 20,000 files of 40 MiB, and are examined in 5 s the first time and
in 0.3 s again. What is not examined is named by the finding `dir.too-large`; the modes of the keys among it are
repaired nevertheless, as many in each check as there would be examined files. What the configuration names comes
first, then what servers load, the clients' pairs, and names that mean nothing to cockroach: nothing that somebody adds
can push a wanted pair out.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from certagent import x509
from certagent.core import names
from certagent.core.names import stem_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one directory and check."""

    files: int = 24_000  # `.crt` and `.key`
    size: int = 64 << 20  # bytes of all of them; of one file: reading.LIMIT
    comparisons: int = 1 << 18  # names with name constraints, for all certificates that are not verified yet


LIMITS = Limits()


class Comparisons:
    """How many comparisons of names with name constraints are left in one check."""

    def __init__(self, most: int = LIMITS.comparisons) -> None:
        """None was made yet."""
        self._most = self._left = most

    def afford(self, cert: bytes, bundles: Iterable[bytes | None]) -> bool:
        """Whether a certificate is verified in this check. One always is: the verifier has a limit of its own."""
        cost = x509.comparisons(cert, bundles)
        if cost > self._left and self._left < self._most:
            return False
        self._left -= cost
        return True


def ordered(files: Iterable[str], first: frozenset[str]) -> list[str]:
    """Given file names and the stems that are wanted, return the names by what they are worth, then by name."""
    return sorted(files, key=lambda file: (_rank(stem_of(file), first), file))


def _rank(stem: str, first: frozenset[str]) -> int:
    if stem in first:
        return 0
    name = names.parse(stem)
    if isinstance(name, names.Unknown):
        return 3
    return 1 if name.kind.loaded or name.is_bundle else 2


def sentence(beyond: list[str], limits: Limits) -> str:
    """Given the names that are not examined, say so; "" for none."""
    if not beyond:
        return ""
    span = beyond[0] if len(beyond) == 1 else f"{min(beyond)} to {max(beyond)}"
    allowed = f"{limits.files} files and {limits.size >> 20} MiB are examined"
    return f"{allowed}, {len(beyond)} more .crt and .key files are not: {span}"
