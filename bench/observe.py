"""A full observation of 10, 1,000 and 10,000 certificates, first and repeated, against the bare parse."""

import os
import pwd
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509 as bare
from cryptography.hazmat.primitives import hashes, serialization

from bench.figures import Figure
from certagent import x509
from certagent.agent.directory import world_of
from certagent.authority.client import AuthorityCache
from certagent.core.decide import decide
from certagent.core.names import CA, Name, Role
from certagent.core.policy import Owner, Policy, Want
from certagent.events import Log
from certagent.state.ledger import Ledger

SIZES = (10, 1_000, 10_000)
DER = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
DAY = timedelta(days=1)


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
        worlds = [world_of(policy, {}, cache, ledger=ledger, log=log, wake=lambda _reason: None) for _ in range(3)]
        _parse(certs)
        parse = min(_took(lambda: _parse(certs)) for _ in range(3))
        first = min(_took(partial(world.observe, now)) for world in worlds)
        world = worlds[-1]
        again = _took(lambda: world.observe(now))
        snapshot = world.observe(now)
        judged = _took(lambda: decide(policy, snapshot, now))
    return [
        Figure(f"observe {size:,}, first", 1e3 * first, 1e3 * parse, "ms", 1.3),
        Figure(f"observe {size:,}, repeated", 1e3 * again, 1e3 * parse, "ms", note="aim: 300 ms for 10,000"),
        Figure(f"decide {size:,}", 1e3 * judged, 1e3 * parse, "ms"),
    ]


def _took(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _parse(certs: Path) -> None:
    """What every program must do: read every file, parse it, and read what matters."""
    for name in os.listdir(certs):
        data = (certs / name).read_bytes()
        if name.endswith(".crt"):
            cert = bare.load_pem_x509_certificate(data)
            cert.fingerprint(hashes.SHA256())
            cert.subject.rfc4514_string()
            cert.issuer.rfc4514_string()
            list(cert.extensions)
            cert.public_key().public_bytes(*DER)
        else:
            serialization.load_pem_private_key(data, None).public_key().public_bytes(*DER)
