"""Cache how each live certificate verifies: the same bytes again only after a CA becomes valid or expires."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from certagent.certs_dir import system_roots
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

    def __init__(self) -> None:
        """No verdict yet."""
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
        return self._split_before == self.split and self._window[0] <= now < self._window[1]

    def of(self, fd: int, pairs: list[Pair], now: datetime) -> tuple[Pair, ...]:
        """Given a directory's fd and its pairs, return them, each certificate with its verdict."""
        self._move_window(pairs, now)
        self._split_before = self.split
        scan = _Scan(fd, pairs, self.roots, split=self.split, now=now)
        before, self._known, self._asked = self._known, {}, None
        return tuple(self._judged(scan, before, p) for p in pairs)

    def _judged(self, scan: "_Scan", before: dict[Key, Kept], pair: Pair) -> Pair:
        if pair.name.is_bundle or pair.cert is None or pair.leaf is None:
            return pair
        key = (pair.cert.digest, pair.name.stem, scan.marks)
        kept = before.get(key)
        if kept is None or (kept.asked is not None and kept.asked != scan.mark):
            kept = scan.verdict(pair, pair.leaf)
        self._known[key] = kept
        if kept.asked is not None:
            self._asked = (kept.asked[0], scan.now + AGAIN)
        return replace(pair, trust=kept.trust)

    def _move_window(self, pairs: list[Pair], now: datetime) -> None:
        certs = [(p.name.is_bundle, p.cert) for p in pairs if p.cert]
        authorities = [c for bundle, cert in certs for c in (cert.certificates if bundle else cert.chain)]
        turns = {t for c in authorities for t in (c.not_before, c.not_after)}
        window = (max((t for t in turns if t <= now), default=FIRST), min((t for t in turns if t > now), default=LAST))
        if window != self._window:
            self._known = {}
        self._window = window


class _Scan:
    """What one scan of one directory verifies by."""

    def __init__(self, fd: int, pairs: list[Pair], source: Source, *, split: bool, now: datetime) -> None:
        """The roots are asked for where they are needed, once."""
        self.fd, self.now, self._source, self._asked = fd, now, source, False
        self._store = store_of(pairs, lambda file: read_file(fd, file), roots=self._ask, split=split)
        digests = {p.name.stem: p.cert.digest for p in pairs if p.cert}
        self.marks = (self._store.split, *((stem, digests[stem]) for stem in self._store.bundles))

    @cached_property
    def roots(self) -> system_roots.Roots | None:
        """The roots of the system, at this moment."""
        return self._source()

    @property
    def mark(self) -> tuple[system_roots.Mark, str]:
        """What changes when a verdict by the roots may change."""
        return system_roots.mark_of(self.roots), f"{self.now:%Y%m%d}"

    def verdict(self, pair: Pair, leaf: Leaf) -> Kept:
        """The verdict on a live certificate."""
        self._asked = False
        found = trust(pair.name, leaf, read_file(self.fd, f"{pair.name.stem}.crt"), self._store, self.now)
        return Kept(trust=found, asked=self.mark if self._asked else None)

    def _ask(self) -> system_roots.Roots | None:
        self._asked = True
        return self.roots
