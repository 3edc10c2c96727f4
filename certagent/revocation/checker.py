"""From the files of a certs-dir to questions, and from answers to facts: whether its certificates are revoked.

A worker asks (child.py). What a revocation list said is kept here until its
nextUpdate, since lists may be large; what responders said is kept as a fact, and core decides when it is old.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from certagent import revocation as ocsp
from certagent import x509
from certagent.certs_dir import read_live
from certagent.core import names
from certagent.core.facts import Answer, Checked, Revocation
from certagent.core.policy import OcspRule
from certagent.core.roles import BUNDLES

DECISIVE = frozenset({"good", "revoked"})


@dataclass(frozen=True, slots=True)
class RevocationResult:
    """What a job of asking brought home."""

    revocations: tuple[Revocation, ...]


class Revoking:
    """Asks about the leaves of one certs-dir. One job at a time uses it."""

    def __init__(self, path: str, staged: Callable[[], Iterable[tuple[str, bytes]]]) -> None:
        """`staged` gives the stems and certificates of the staging area."""
        self._path, self._staged = path, staged
        self._lists: dict[tuple[str, str], Answer] = {}
        self._workers = ocsp.asker()

    def stop(self) -> None:
        """Stop the running question and ask no other: the answers are no longer needed."""
        self._workers.stop()

    def ask(
        self, rule: OcspRule, leaves: Iterable[tuple[str, str]], at: datetime, *, every: bool = False
    ) -> tuple[Revocation, ...]:
        """Given (stem, fingerprint) of leaves, live or staged, return what is known of each at `at`; never raises.

        One that is gone by now is left out. With `every` all responders are asked, not only until one decides.
        """
        chains = {mark: chain for stem, mark in leaves if (chain := self._chain(stem, mark)) is not None}
        unique = {link.fingerprint: link for chain in chains.values() for link in chain}
        return told(chains, self._checked(rule, tuple(unique.values()), at, every=every), at)

    def _chain(self, stem: str, mark: str) -> tuple[x509.Link, ...] | None:
        pem = self._find(stem, mark)
        if pem is None:
            return None
        name = names.parse(stem)
        with suppress(OSError, x509.X509Error):
            if isinstance(name, names.Name):
                present = frozenset(stem for stem in BUNDLES if self._read(stem) is not None)
                return x509.chain_links(pem, self._read(name.kind.bundle_in(present)) or b"")
        return ()

    def _find(self, stem: str, mark: str) -> bytes | None:
        """The certificate file whose leaf has that fingerprint."""
        live = self._read(stem)
        for pem in ([live] if live else []) + [cert for name, cert in self._staged() if name == stem]:
            with suppress(x509.X509Error):
                if x509.parse_certificates(pem)[0].fingerprint == mark:
                    return pem
        return None

    def _read(self, stem: str) -> bytes | None:
        try:
            return read_live(self._path, f"{stem}.crt")
        except OSError:
            return None

    def _checked(
        self, rule: OcspRule, links: tuple[x509.Link, ...], at: datetime, *, every: bool
    ) -> dict[str, Checked]:
        self._lists = {k: a for k, a in self._lists.items() if _fresh(a, rule, at)}
        questions = [ocsp.Question(c.cert, c.issuer, c.ocsp, self._unread(rule, c)) for c in links]
        reach = ocsp.Reach(allow_private=rule.allow_private, configured=rule.configured)
        told = ocsp.ask(self._workers, questions, rule.timeout.total_seconds(), every=every, reach=reach)
        for link, answers in zip(links, told, strict=True):
            self._lists |= {(link.fingerprint, a.url): a for a in answers if a.source == "crl" and _fresh(a, rule, at)}
        return {
            link.fingerprint: Checked(link.fingerprint, link.subject, self._with_lists(rule, link, answers), link.ocsp)
            for link, answers in zip(links, told, strict=True)
        }

    def _unread(self, rule: OcspRule, link: x509.Link) -> tuple[str, ...]:
        """The lists that must be fetched, should no responder decide."""
        known = {url for mark, url in self._lists if mark == link.fingerprint}
        return link.crl if rule.crl and not known.intersection(link.crl) else ()

    def _with_lists(self, rule: OcspRule, link: x509.Link, answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
        """With what a list said before, where nothing else decides."""
        if not rule.crl or any(a.status in DECISIVE for a in answers):
            return answers
        return (*answers, *(a for url in link.crl if (a := self._lists.get((link.fingerprint, url)))))


def told(
    chains: Mapping[str, tuple[x509.Link, ...]], checked: Mapping[str, Checked], at: datetime
) -> tuple[Revocation, ...]:
    """Given the chains of leaves and what was said of their links, return what is known of each leaf."""
    return tuple(
        Revocation(
            mark,
            at,
            tuple(checked[c.fingerprint] for c in chain),
            "" if chain else "the certificate does not chain to the trust bundle",
        )
        for mark, chain in chains.items()
    )


def _fresh(answer: Answer, rule: OcspRule, at: datetime) -> bool:
    """Whether a list's answer is still to be believed: until nextUpdate, within the bounds."""
    if answer.status not in DECISIVE:
        return False
    end = answer.at + rule.max_interval
    return at < (min(end, answer.next_update) if answer.next_update else end)
