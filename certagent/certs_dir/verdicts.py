"""Cache how each live certificate verifies: the same bytes again only after a CA becomes valid or expires."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from certagent.certs_dir import system_roots
from certagent.certs_dir.budget import LIMITS, Comparisons
from certagent.certs_dir.reading import read_file
from certagent.certs_dir.verify import store_of, trust
from certagent.core.facts import Leaf, Pair, Trust

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
AGAIN = timedelta(days=1)  # the validity of the system's roots is not tracked
Source = Callable[[], system_roots.Roots | None]
Key = tuple[str, str, tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A verdict, and the roots that it depends on: their mark and the day; None where they were not needed."""

    trust: Trust | None
    asked: tuple[system_roots.Mark, str] | None


class Verdicts:
    """The verdicts on unchanged chains. `roots`: those that verify `ui` without `ca-ui`; None: not read yet.

    `split`: whether the configuration asks for `client.node`.
    """

    def __init__(self, budget: int = LIMITS.comparisons) -> None:
        """No verdict yet. `budget`: comparisons of names with name constraints in one scan."""
        self.behind = ""  # what the last scan did not verify
        self._budget = budget
        self.roots: Source = system_roots.load
        self.split = False
        self._known: dict[Key, Kept] = {}
        self._window = (LAST, FIRST)  # no CA begins or ends within it, so no verdict changes
        self._asked: tuple[system_roots.Mark, datetime] | None = None  # the roots that were needed, until when it holds
        self._split_before = False  # what `split` was then

    def hold(self, now: datetime) -> bool:
        """Whether every verdict of the last scan still stands, if no file of the directory changed."""
        if self._asked is not None and (self._asked[0] != system_roots.mark_of(self.roots()) or now >= self._asked[1]):
            return False
        return not self.behind and self._split_before == self.split and self._window[0] <= now < self._window[1]

    def of(self, fd: int, basis: tuple[Pair, ...], pairs: Iterable[Pair], now: datetime) -> tuple[Pair, ...]:
        """Given a directory's fd and its pairs, return them in their order, each certificate with its verdict.

        `basis`: the bundles, and `client.node`. The others are taken one by one, so that a certificate that was just
        read is verified before the next one is: what was parsed of it is still in memory.
        """
        before = self._known if self._window[0] <= now < self._window[1] else {}
        self._split_before = self.split
        scan = _Scan(fd, basis, self.roots, split=self.split, now=now, left=self._budget)
        self._known, self._asked = {}, None
        judged = tuple(self._judged(scan, before, pair) for pair in pairs)
        self.behind = behind(scan.skipped)
        self._window = (LAST, FIRST) if scan.gone else _window(judged, now)  # what is gone is read again
        return judged

    def _judged(self, scan: "_Scan", before: dict[Key, Kept], pair: Pair) -> Pair:
        if pair.name.is_bundle or pair.cert is None or pair.leaf is None:
            return pair
        key = (pair.cert.digest, pair.name.stem, scan.marks)
        kept = before.get(key)
        if kept is None or (kept.asked is not None and kept.asked != scan.mark):
            kept = scan.verdict(pair, pair.leaf)
        if kept is None:
            return replace(pair, trust=scan.undecided(pair, pair.leaf))
        self._known[key] = kept
        if kept.asked is not None:
            self._asked = (kept.asked[0], scan.now + AGAIN)
        return replace(pair, trust=kept.trust)


def _window(pairs: tuple[Pair, ...], now: datetime) -> tuple[datetime, datetime]:
    """Since when, and until when, no CA of a directory begins or ends."""
    certs = [(p.name.is_bundle, p.cert) for p in pairs if p.cert]
    authorities = [c for bundle, cert in certs for c in (cert.certificates if bundle else cert.chain)]
    turns = {t for c in authorities for t in (c.not_before, c.not_after)}
    return max((t for t in turns if t <= now), default=FIRST), min((t for t in turns if t > now), default=LAST)


def behind(skipped: list[str]) -> str:
    """Given the stems that were not verified, say so; "" for none."""
    if not skipped:
        return ""
    named = ", ".join(skipped[:3]) + (" and others" if len(skipped) > 3 else "")  # noqa: PLR2004 - a few say enough
    return (
        f"{len(skipped)} certificates are not verified yet, because of their many names and name constraints: {named}"
    )


class _Roots:
    """The roots of the system at the moment of a scan, and whether a verdict asked for them.

    Not a part of the scan: one that refers to itself stays in memory until the garbage collector finds it.
    """

    def __init__(self, source: Source) -> None:
        """Nothing is read yet."""
        self._source, self.asked = source, False

    @cached_property
    def found(self) -> system_roots.Roots | None:
        """As of the first time that they were needed."""
        return self._source()

    def ask(self) -> system_roots.Roots | None:
        """For a verdict."""
        self.asked = True
        return self.found


class _Scan:
    """What one scan of one directory verifies by."""

    def __init__(
        self, fd: int, basis: tuple[Pair, ...], source: Source, *, split: bool, now: datetime, left: int
    ) -> None:
        """The roots are asked for where they are needed, once. `left`: how many names may be compared."""
        self.skipped: list[str] = []  # the stems that are not verified, because it is too much for one scan
        self.gone = False  # whether a file was there before and cannot be read any more
        self._comparisons = Comparisons(left)
        self.fd, self.now, self._roots = fd, now, _Roots(source)
        self._store = store_of(basis, lambda file: read_file(fd, file), roots=self._roots.ask, split=split)
        digests = {p.name.stem: p.cert.digest for p in basis if p.cert}
        self.marks = (self._store.split, *((stem, digests[stem]) for stem in self._store.bundles))

    @property
    def mark(self) -> tuple[system_roots.Mark, str]:
        """What changes when a verdict by the roots may change."""
        return system_roots.mark_of(self._roots.found), f"{self.now:%Y%m%d}"

    def verdict(self, pair: Pair, leaf: Leaf) -> Kept | None:
        """The verdict on a live certificate; None where its file is gone, or the budget does not suffice for it."""
        try:
            cert = read_file(self.fd, f"{pair.name.stem}.crt")
        except OSError:
            self.gone = True
            return None
        if not self._comparisons.afford(cert, self._store.bundles.values()):
            self.skipped.append(pair.name.stem)
            return None
        self._roots.asked = False
        found = trust(pair.name, leaf, cert, self._store, self.now)
        if found is not None and found.bundle in self._store.gone:
            self.gone = True
            return None
        return Kept(trust=found, asked=self.mark if self._roots.asked else None)

    def undecided(self, pair: Pair, leaf: Leaf) -> Trust | None:
        """What is said of one that is not verified yet."""
        steps = self._store.verifications(pair.name, leaf)
        return Trust(steps[0].bundle, unread=True) if steps else None
