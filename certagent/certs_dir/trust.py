"""What the chain of each live leaf builds to; verified once for the same bytes, until a CA begins or ends."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property

from certagent import x509
from certagent.certs_dir import system_roots as roots
from certagent.certs_dir.reading import read_file
from certagent.core.facts import CertFile, Leaf, Pair, Trust
from certagent.core.names import CLIENT_NODE, NODE
from certagent.core.roles import SYSTEM, Role

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
AGAIN = timedelta(days=1)  # the system's roots are many and begin and end unseen
Key = tuple[str, str, Role]


class Verdicts:
    """The verdicts on unchanged chains. `roots`: those beside `ca.crt` for `ui`, the system's; None: not read yet."""

    def __init__(self) -> None:
        """No verdict yet."""
        self.roots: Callable[[], roots.Roots | None] = roots.load
        self._known: dict[Key, Trust] = {}
        self._window = (LAST, FIRST)  # between two ends or beginnings of CAs no verdict on a chain can change
        self._asked: tuple[roots.Mark, datetime] | None = None  # the system's roots were asked, until when it holds

    def hold(self, now: datetime) -> bool:
        """Whether every verdict of the last look still stands, if no file of the directory changed."""
        if self._asked is not None and (self._asked[0] != roots.mark_of(self.roots()) or now >= self._asked[1]):
            return False
        return self._window[0] <= now < self._window[1]

    def of(self, fd: int, pairs: list[Pair], now: datetime) -> tuple[Pair, ...]:
        """Given a directory's fd and its pairs, return them, each leaf with what its chain builds to."""
        bundles = {p.name.stem: p.cert for p in pairs if p.name.is_bundle and p.cert and p.leaf}
        pem = {stem: read_file(fd, f"{stem}.crt") for stem in bundles}
        self._move_window(bundles, pairs, now)
        self._asked = None
        before, self._known = self._known, {}
        look = _Look(fd, bundles, pem, before, (now, self.roots))
        return tuple(
            p
            if p.name.is_bundle or p.leaf is None or p.cert is None
            else Pair(p.name, p.cert, p.key, self._of(look, p, p.cert, p.leaf))
            for p in pairs
        )

    def _move_window(self, bundles: dict[str, CertFile], pairs: list[Pair], now: datetime) -> None:
        chained = (p.cert.chain for p in pairs if p.cert and p.cert.chain and not p.name.is_bundle)
        authorities = [c for group in (*(b.certificates for b in bundles.values()), *chained) for c in group]
        turns = {t for c in authorities for t in (c.not_before, c.not_after)}
        window = (max((t for t in turns if t <= now), default=FIRST), min((t for t in turns if t > now), default=LAST))
        if window != self._window:
            self._known = {}
        self._window = window

    def _of(self, look: "_Look", pair: Pair, cert: CertFile, leaf: Leaf) -> Trust | None:
        """By the first of its verifiers that it builds to; else what the first one says. Some are never verified."""
        stems = pair.name.kind.bundles_in(look.present)
        found = [self._by(look, stem, pair, (cert, leaf)) for stem in stems[:1]]
        if found and found[0].problem and SYSTEM in stems:
            self._asked = (roots.mark_of(look.roots), look.now + AGAIN)
            if look.roots is None:
                return Trust(SYSTEM, unread=True)
            found.append(self._by(look, SYSTEM, pair, (cert, leaf)))
        good = [trust for trust in found if trust.problem is None]
        if good or not found:
            return good[0] if good else None
        return Trust(found[0].bundle, "; nor by the roots of the system: ".join(str(t.problem) for t in found))

    def _by(self, look: "_Look", stem: str, pair: Pair, what: tuple[CertFile, Leaf]) -> Trust:
        (cert, leaf), by_system = what, stem == SYSTEM
        if not by_system and stem not in look.bundles:
            return Trust(stem, f"there is no {stem}.crt to verify it by")
        mark = f"{roots.mark_of(look.roots)} {look.now:%Y%m%d}" if by_system else look.bundles[stem].digest
        key = (cert.digest, mark, pair.name.role)
        if key not in look.before:
            at = min(max(look.now, leaf.not_before), leaf.not_after)  # its own validity is another finding
            bundle = look.roots.pem if by_system and look.roots else look.pem[stem]
            look.before[key] = _verdict(pair, stem, read_file(look.fd, f"{pair.name.stem}.crt"), bundle, at)
        self._known[key] = look.before[key]
        return look.before[key]


class _Look:
    """One look at one directory."""

    def __init__(
        self,
        fd: int,
        bundles: dict[str, CertFile],
        pem: dict[str, bytes],
        before: dict[Key, Trust],
        at: tuple[datetime, Callable[[], roots.Roots | None]],
    ) -> None:
        """`before`: the verdicts that may still stand. The roots are asked for where they are needed, once."""
        self.fd, self.bundles, self.pem, self.before, (self.now, self._source) = fd, bundles, pem, before, at
        self.present = frozenset(bundles)

    @cached_property
    def roots(self) -> roots.Roots | None:
        """The roots of the system, at this moment."""
        return self._source()


def _verdict(pair: Pair, stem: str, data: bytes, bundle: bytes, at: datetime) -> Trust:
    usage = pair.name.kind.verified_as[0]
    problem = x509.verify_chain(data, bundle, usage, at)
    own = pair.name in {NODE, CLIENT_NODE} and problem is None
    return Trust(stem, problem, x509.anchors(data, bundle, usage, at) if own else ())
