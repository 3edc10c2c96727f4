"""Test an authority: ask it for a certificate with a throw-away key, run every pre-install check, install nothing."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from certagent import keys, x509
from certagent.authority.client import Order, Remote, authorities_of
from certagent.authority.client.interface import CertificateAuthority
from certagent.authority.client.local import Embedded
from certagent.authority.contact import Contact
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Pending
from certagent.certs_dir import Scanner, read_live, staged, system_roots
from certagent.certs_dir.verify import TrustStore, store_of
from certagent.config import Config
from certagent.core.facts.certificates import is_scope
from certagent.core.policy import Policy, Want
from certagent.core.roles import SYSTEM
from certagent.core.rules import refusal
from certagent.core.trial import STEPS, Step, place, steps
from certagent.core.trust import bundles_for
from certagent.posix.errors import HostError
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import SharedOnly

NOT_YET = "the CA does not exist yet: certagent creates it with the first trust bundle; this was one to throw away"


Tell = Callable[[dict[str, Any]], None]


def untold(_said: dict[str, Any]) -> None:
    """Nobody wants to know before the end."""


class _Watch:
    """How long each step took that ended; `tell` hears of each as soon as it is known how it ended."""

    def __init__(self, tell: Tell) -> None:
        self.seconds: dict[str, float] = {}
        self._since, self._tell, self._told = time.monotonic(), tell, 0

    def ended(self, step: str) -> None:
        """Take note that a step ended, well or not, and those before it."""
        now = time.monotonic()
        self.seconds[step], self._since = round(now - self._since, 3), now

    def contacted(self, contact: Contact) -> None:
        """The worker asks: it could start. Or a trusted endpoint answered."""
        if contact == "answered":
            self.ended("tls")
        self.passed("settings" if contact == "asked" else "tls")

    def passed(self, step: str) -> None:
        """That step, and all before it, are known to have ended well."""
        self.tell(steps("", "", (), self.seconds)[: STEPS.index(step) + 1])

    def tell(self, known: tuple[Step, ...]) -> None:
        """Say what was not said yet."""
        for step in known[self._told :]:
            self._tell({"step": asdict(step)})
        self._told = max(self._told, len(known))


class StepError(Exception):
    """A step that failed, why, and the steps whose outcome is therefore unknown."""

    def __init__(self, step: str, reason: str, unknown_steps: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.step, self.reason, self.unknown_steps = step, reason, unknown_steps


def trial(
    config: Config,
    workers: Workers,
    book: SharedOnly,
    name: str,
    certs_dir: str,
    clock: Callable[[], datetime],
    tell: Tell = untold,
) -> dict[str, Any]:
    """Ask the authority of that name; return what worked. Raises HostError where it cannot be asked.

    `tell` hears first what is tested (`about`), then of each `step` as it ends, as in what is returned.
    The clock is read again when the answer is there: a certificate may be valid from this very second on.
    """
    authority = authorities_of(config, workers, book).get(name)
    if name not in config.authorities:
        known = ", ".join(config.authorities) or "none"
        raise HostError(f"cannot test authority {name!r}: it is not configured; configured authorities: {known}")
    if authority is None:
        raise HostError(f"cannot test authority {name!r}: type none asks no CA")
    policy, want = _wanted(config, name, certs_dir)
    leaf, note, watch = None, "", _Watch(tell)
    about = {"authority": name, "type": config.authorities[name].type, "certs_dir": policy.path, "file": want.name.stem}
    tell({"about": about})
    with TemporaryDirectory(prefix="certagent-test-") as scratch:
        try:
            if rehearsed := _rehearsed(authority, policy, scratch, clock()):
                authority, note = rehearsed, NOT_YET
            leaf = _tried(authority, policy, want, clock, watch)
            watch.ended(STEPS[-1])
            found = steps("", "", (), watch.seconds)
        except StepError as error:
            watch.ended(error.step)
            found = steps(error.step, error.reason, error.unknown_steps, watch.seconds)
    watch.tell(found)
    return {
        "version": 1,
        **about,
        "ok": leaf is not None,
        "steps": [asdict(s) for s in found],
        "certificate": leaf,
        "note": note,
    }


def _rehearsed(authority: CertificateAuthority, policy: Policy, scratch: str, now: datetime) -> Embedded | None:
    """The embedded CA that the first trust bundle would create; None where it is not created any more."""
    if not isinstance(authority, Embedded) or any(p.cert for p in Scanner().scan(policy.path, now).pairs):
        return None
    try:
        return authority.rehearsed(scratch, now)
    except AuthorityError as error:
        raise StepError("settings", str(error)) from error


def _wanted(config: Config, name: str, certs_dir: str) -> tuple[Policy, Want]:
    """The file to ask for: one that this authority is configured for, a node's before others."""
    found = [p for p in config.policies if certs_dir in ("", p.path)]
    if not found:
        raise HostError(f"cannot test with {certs_dir}: it is not configured")
    leaves = [(p, w) for p in found for w in p.wants if not w.name.is_bundle]
    if not leaves:
        raise HostError("cannot test: no certs directory needs a certificate")
    order = sorted(leaves, key=lambda pw: (name not in pw[1].authorities, pw[1].name.stem != "node"))
    return order[0]


def _tried(
    authority: CertificateAuthority, policy: Policy, want: Want, clock: Callable[[], datetime], watch: _Watch
) -> dict[str, Any]:
    if isinstance(authority, Remote):
        try:
            authority.ready()
        except AuthorityError as error:
            raise StepError("settings", str(error)) from error
    watch.ended("settings")
    try:
        chain, key = _issued(authority, policy, want, clock(), watch)
        watch.ended("answer")
        watch.passed("answer")
        store = trust_store(authority, policy, want, clock())
    except AuthorityError as error:
        raise _failed(error, endpoint=authority.endpoint) from error
    return accepted(want, chain, key, store, clock())


def accepted(want: Want, chain: bytes, key: keys.Key, store: TrustStore, now: datetime) -> dict[str, Any]:
    """Given an answer, its key and what it verifies by, return what is shown of it. Raises StepError."""
    pair = staged.pair_fact(want.name.stem, chain, key, now.timestamp())
    if pair is None or pair.leaf is None:
        raise StepError("answer", "it is not a certificate")
    judged = staged.judge(pair, want, chain, key, store, asked=True, at=now.timestamp(), now=now)
    if judged.pair.trust is not None and judged.pair.trust.problem:
        raise StepError("chain", judged.pair.trust.problem)
    problem = refusal(want, judged, None, asked=True, now=now)
    if problem is not None:
        raise StepError("gate", problem)
    shown = pair.leaf
    return {"subject": shown.subject, "issuer": shown.issuer, "sans": list(shown.sans), "key": shown.key}


def _failed(error: AuthorityError, *, endpoint: bool) -> StepError:
    """The step that failed; a cause on this host means that the CA was not asked."""
    if isinstance(error.__cause__, HostError):
        return StepError("settings", str(error))
    step, unknown = place(error.kind, error.contact, endpoint=endpoint)
    return StepError(step, str(error), unknown)


def _issued(
    authority: CertificateAuthority, policy: Policy, want: Want, now: datetime, watch: _Watch
) -> tuple[bytes, keys.Key]:
    if isinstance(authority, Remote) and authority.by_hand:
        raise StepError("reachable", "a person answers; outbox and inbox can be used; the test leaves nothing there")
    live = _live(policy, want)
    known = want.names if want.names is not None else _names(live)
    names = known if want.uris is None else (*(n for n in known if not is_scope(n)), *want.uris)
    common_name = want.principal or (names[0] if names else None) if authority.common_name else None
    try:
        subject = keys.Subject(common_name=common_name, names=names, challenge=authority.challenge())
        csr, key = keys.drafted(want.key, subject)
    except x509.X509Error as error:
        raise StepError("settings", str(error)) from error
    order = replace(
        Order.of(policy.path, want, names, csr, live), forced=True, told=watch.contacted if authority.endpoint else None
    )
    if not (isinstance(authority, Remote) and authority.by_leaf):
        order = replace(order, live=b"")  # some CAs would treat the request as a renewal of that certificate
    answer = authority.issue(order, now)
    if isinstance(answer, Pending):
        raise StepError("answer", f"the CA accepted the request and issues later: {answer.reason}")
    return answer, key


def _live(policy: Policy, want: Want) -> bytes:
    try:
        return read_live(policy.path, f"{want.name.stem}.crt")
    except OSError:
        return b""


def _names(live: bytes) -> tuple[str, ...]:
    try:
        leaf = x509.parse_certificates(live)[0]
    except x509.X509Error:
        return ()
    return (*leaf.dns, *leaf.ips, *leaf.scopes)


def trust_store(authority: CertificateAuthority, policy: Policy, want: Want, now: datetime) -> TrustStore:
    """What the live certificates verify by; without a ca.crt that is needed, what the authority would make of it.

    Raises StepError where the authority makes none and nothing else could verify the pair.
    """
    scanner, roots = Scanner(), partial(system_roots.load, want.roots)
    scanner.verdicts.roots = roots
    pairs = scanner.scan(policy.path, now).pairs
    store = store_of(pairs, partial(read_live, policy.path), roots=roots, split=policy.split)
    bundles = dict(store.bundles)
    for stem in bundles_for(want.name, frozenset(bundles), split=store.split):
        if stem in bundles:
            continue
        try:
            bundles[stem] = authority.bundle(policy.path, stem, now, first=False)
        except AuthorityError as error:
            if SYSTEM not in want.name.kind.bundles_in(frozenset(bundles)):
                raise StepError("chain", str(error)) from error
    return replace(store, bundles=bundles)
