"""A full observation of 10, 1,000 and 10,000 certificates, against what every program must do, by processor time.

The first one against the bare parse and one signature check for each certificate, a repeated one against the parse.
"""

import os
import pwd
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509 as bare
from cryptography.hazmat.primitives import hashes, serialization

from bench.figures import Figure
from certagent import x509
from certagent.agent.directory import World, world_of
from certagent.authority.client import AuthorityCache
from certagent.core.decide import decide
from certagent.core.names import CA, Name, Role
from certagent.core.policy import Owner, Policy, Want
from certagent.events import Log
from certagent.state.ledger import Ledger

SIZES = (10, 1_000, 10_000)
DER = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
DAY = timedelta(days=1)
ROUNDS = 4


def measure(base: Path) -> list[Figure]:
    """Each size in a directory of its own; the machine's cache is warm for both."""
    now = datetime.now(UTC)
    figures = []
    for size in SIZES:
        certs = base / f"certs-{size}"
        _fill(certs, size, now)
        figures += _figures(base, certs, size, now)
    return figures


def _fill(certs: Path, size: int, now: datetime) -> None:
    certs.mkdir(mode=0o700)
    ca, key = x509.make_ca("bench", 1000 * DAY, now)
    (certs / "ca.crt").write_bytes(ca)
    for user in _users(size):
        own = x509.generate_key("ecdsa-p256")
        csr = x509.make_csr(own, user, ())
        span = {"not_before": now - DAY, "not_after": now + 90 * DAY}
        (certs / f"client.{user}.crt").write_bytes(x509.sign_csr(csr, ca, key, server=False, client=True, **span))
        (certs / f"client.{user}.key").write_bytes(own)
        (certs / f"client.{user}.key").chmod(0o600)


def _users(size: int) -> list[str]:
    return [f"user{n:05d}" for n in range(size)]


def _figures(base: Path, certs: Path, size: int, now: datetime) -> list[Figure]:
    account = pwd.getpwuid(os.getuid())
    wants = [Want(Name(Role.CLIENT, user), ("house",), (), user, client=True) for user in _users(size)]
    policy = Policy(
        str(certs), Owner(account.pw_name, account.pw_uid, account.pw_gid), "bench", (Want(CA, ("house",)), *wants)
    )
    with open(os.devnull, "w") as nowhere:
        log = Log(nowhere, "json", lambda: now)
        ledger = Ledger.writing(str(base / f"ledger-{size}.db"))
        cache = AuthorityCache({}, {}, lambda: None)
        worlds = [world_of(policy, {}, cache, ledger=ledger, log=log, wake=lambda _reason: None) for _ in range(ROUNDS)]
        _parse(certs, verify=True)
        rounds = [_round(certs, world, now) for world in worlds]
        parse, verified, first, again = (1e3 * min(took) for took in zip(*rounds, strict=True))
        snapshot = worlds[-1].observe(now)
        judged = 1e3 * min(_took(lambda: decide(policy, replace(snapshot), now)) for _ in rounds)
    return [
        Figure(f"observe {size:,}, first", first, verified, "ms", 2.2),
        Figure(f"observe {size:,}, repeated", again, parse, "ms", 0.1 if size == max(SIZES) else None),
        Figure(f"decide {size:,}", judged, parse, "ms"),
    ]


def _round(certs: Path, world: World, now: datetime) -> tuple[float, float, float, float]:
    """One of each, in turn, so that all of them meet the same moments of a busy machine."""
    _forget()
    return (
        _took(lambda: _parse(certs, verify=False)),
        _took(lambda: _parse(certs, verify=True)),
        _took(lambda: world.observe(now)),
        _took(lambda: world.observe(now)),
    )


def _forget() -> None:
    """Empty the caches of what was parsed; else a small directory would be known already."""
    for name, module in tuple(sys.modules.items()):
        for value in vars(module).values() if name.startswith("certagent.x509.") else ():
            if callable(clear := getattr(value, "cache_clear", None)):
                clear()


def _took(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _parse(certs: Path, *, verify: bool) -> None:
    """What every program must do: read every file, parse it, read what matters, and check its signature."""
    ca = bare.load_pem_x509_certificate((certs / "ca.crt").read_bytes())
    for name in os.listdir(certs):
        data = (certs / name).read_bytes()
        if name.endswith(".crt"):
            cert = bare.load_pem_x509_certificate(data)
            cert.fingerprint(hashes.SHA256())
            cert.subject.rfc4514_string()
            cert.issuer.rfc4514_string()
            list(cert.extensions)
            cert.public_key().public_bytes(*DER)
            if verify:
                cert.verify_directly_issued_by(ca)
        else:
            serialization.load_pem_private_key(data, None).public_key().public_bytes(*DER)
