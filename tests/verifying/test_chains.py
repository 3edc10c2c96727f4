"""Our verdict on hundreds of generated chains is Go's own; OpenSSL's too, but where it differs from Go by design."""

import os
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import pytest
from cryptography import x509 as pyca
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Store

from certagent import x509
from certagent.x509 import pem
from certagent.x509.profile import chain_to
from tests.making import make_ca
from tests.servers.process import program
from tests.verifying.chains import Case, cases
from tests.verifying.go import ask

pytestmark = pytest.mark.slow
PURPOSES = {"server": "sslserver", "client": "sslclient"}


@lru_cache
def corpus() -> list[Case]:
    return cases()


@lru_cache
def ours() -> list[str]:
    """The problem of each chain, empty where it is sound."""
    return [x509.verify_chain(c.certs, c.bundle, c.usage, c.at) or "" for c in corpus()]  # type: ignore[arg-type]


def test_chains_are_enough() -> None:
    """At least two hundred chains, valid and invalid in fair parts."""
    verdicts = Counter(problem == "" for problem in ours())
    assert len(corpus()) >= 200
    assert min(verdicts.values()) > len(corpus()) / 4


@pytest.mark.real
def test_chains_agree_with_go() -> None:
    """crypto/x509 itself, over every chain; one row depends on the version of Go, and says so."""
    theirs = ask((c.certs, c.bundle, c.usage, int(c.at.timestamp())) for c in corpus())
    differ = [
        (c.labels, c.usage, mine, go)
        for c, mine, go in zip(corpus(), ours(), theirs, strict=True)
        if (mine == "") != (go == "") and not c.go
    ]
    assert differ == []


def openssl(case: Case, directory: Path, number: int) -> str:
    """`openssl verify`, with every certificate of the bundle a root, as Go has it."""
    leaf, *rest = (pyca.load_der_x509_certificate(der) for _, der in pem.blocks(case.certs))
    paths = {n: directory / f"{number}.{n}" for n in ("leaf", "rest", "bundle")}
    paths["leaf"].write_bytes(leaf.public_bytes(Encoding.PEM))
    paths["rest"].write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in rest))
    paths["bundle"].write_bytes(case.bundle)
    words = [
        "openssl",
        "verify",
        "-partial_chain",
        "-no-CApath",
        "-no-CAstore",
        "-attime",
        str(int(case.at.timestamp())),
    ]
    words += ["-purpose", PURPOSES[case.usage], "-CAfile", str(paths["bundle"])]
    words += [*(["-untrusted", str(paths["rest"])] if rest else []), str(paths["leaf"])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr or "refused"


def test_chains_agree_with_openssl() -> None:
    """`openssl verify` over every chain; if it differs the case says why, and no reason is unused."""
    program("openssl", "apt-get install -y openssl")
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        theirs = list(pool.map(lambda x: openssl(x[1], Path(made), x[0]), enumerate(corpus())))
    differ = [
        (c, mine, said) for c, mine, said in zip(corpus(), ours(), theirs, strict=True) if (mine == "") != (said == "")
    ]
    assert [(c.labels, mine, said) for c, mine, said in differ if not c.openssl] == []
    assert {c.openssl for c in corpus() if c.openssl} == {c.openssl for c, _, _ in differ}, "a reason that is none"


def test_chains_verified_by_library_or_search() -> None:
    """cryptography's verifier finds most valid chains; our search finds the others."""
    sound = [c for c, mine in zip(corpus(), ours(), strict=True) if mine == ""]
    found = 0
    for case in sound:
        leaf, *rest = (pyca.load_der_x509_certificate(der) for _, der in pem.blocks(case.certs))
        store = Store([pyca.load_der_x509_certificate(der) for _, der in pem.blocks(case.bundle)])
        found += bool(chain_to(store, leaf, rest, case.at))
    assert len(sound) / 3 < found < len(sound)


@pytest.mark.real
def test_chains_of_certificates_with_pem_headers() -> None:
    """Go's pool skips a certificate with PEM headers, though cockroach loads the file; in a leaf's file it counts."""
    house, other = make_ca("house"), make_ca("other")
    leaf, at = house.pair()[0], datetime.now(UTC)
    rows = [
        (leaf, headed(house.cert)),
        (leaf, headed(other.cert) + house.cert),
        (leaf, headed(house.cert) + other.cert),
    ]
    rows += [(leaf, house.cert + headed(house.cert)), (headed(leaf), house.cert)]
    mine = [x509.verify_chain(certs, bundle, "server", at) or "" for certs, bundle in rows]
    theirs = ask((certs, bundle, "server", int(at.timestamp())) for certs, bundle in rows)
    assert [said == "" for said in theirs] == [problem == "" for problem in mine] == [False, True, False, True, True]
    assert "remove the header lines" in mine[0]
    assert x509.anchors(leaf, headed(house.cert), "server", at) == ()


def headed(pem_block: bytes) -> bytes:
    """The same certificate, with a header line as some tools write."""
    return pem_block.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nComment: ours\n\n", 1)
