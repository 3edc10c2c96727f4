"""Bad and odd certificates: cryptography's own test vectors, and mutations, through the whole of `check`."""

import base64
import os
import random
import tempfile
import time
import warnings
from functools import lru_cache
from pathlib import Path

import cryptography_vectors
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certagent import x509
from certagent.core.catalogue import FINDINGS
from certagent.core.facts import LoaderFlags
from certagent.operations.check import check, directory_target
from certagent.x509 import pem
from tests.making import Ca, make_ca
from tests.verifying.go import ask

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]
VECTORS = Path(cryptography_vectors.__file__).parent / "x509"
FILES = sorted(p for p in VECTORS.rglob("*") if p.is_file())
DIRECTORIES = sorted({p.parent for p in FILES})
BINARY = {".der", ".crt", ".cer"}
RECENT = 27  # of Go 1.x: what the lists below were made with
OLDER = ("some versions", "older versions", "Go 1.24.8")  # caveats about what the newest one loads
LIMIT = 1.0  # seconds of CPU per file and place
UNREAD = {  # that Go loads and we cannot read, which is no verdict on it: cert.unread
    "dsa_null_alg_params.pem",  # a DSA key without its parameters
    "wosign-bc-invalid.pem",  # a path length where nothing is a CA
}


def content(path: Path) -> bytes:
    """The file as PEM, where it is one certificate in DER."""
    data = path.read_bytes()
    if path.suffix in BINARY and b"-----BEGIN" not in data:
        return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"
    return data


@lru_cache
def house() -> tuple[Ca, tuple[bytes, bytes]]:
    ca = make_ca()
    return ca, ca.pair()


def judge(certs: Path, name: str, data: bytes) -> None:
    """The file under that name in a sound directory: no exception, no delay, a finding or a clean verdict."""
    (certs / name).write_bytes(data)
    begin = time.thread_time()
    document = check(directory_target(str(certs), "", LoaderFlags()))
    took = time.thread_time() - begin
    assert took < LIMIT, (name, took)
    verdict = next(f for f in document["files"] if f["name"] == name)
    about = [f for f in document["findings"] if f["file"] == name]
    assert verdict["accepted"] or about, document
    assert all(f["code"] in FINDINGS and f["remedy"] and f["message"].isprintable() for f in document["findings"])


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """A sound directory with a spare pair for ui."""
    ca, (cert, key) = house()
    for stem in ("node", "ui"):
        (tmp_path / f"{stem}.crt").write_bytes(cert)
        (tmp_path / f"{stem}.key").write_bytes(key)
        (tmp_path / f"{stem}.key").chmod(0o600)
    (tmp_path / "ca.crt").write_bytes(ca.cert)
    return tmp_path


@pytest.mark.parametrize("directory", DIRECTORIES, ids=[str(d.relative_to(VECTORS)) for d in DIRECTORIES])
def test_vectors_give_finding_or_clean_verdict(certs: Path, directory: Path) -> None:
    """Every file of the x509 vectors, DER as PEM, as node.crt, ui.crt and ca.crt; and once as it is."""
    sound = {n: (certs / n).read_bytes() for n in ("node.crt", "ui.crt", "ca.crt")}
    for path in (p for p in FILES if p.parent == directory):
        if content(path) != path.read_bytes():
            judge(certs, "node.crt", path.read_bytes())
        for name, before in sound.items():
            judge(certs, name, content(path))
            (certs / name).write_bytes(before)


@pytest.mark.real
def test_vectors_load_as_in_go() -> None:
    """Which vectors load is Go's decision too, but for the files listed above, each of which still differs."""
    theirs = ask(((content(p), b"", "", 0) for p in FILES), RECENT)
    unread, differ = set(), []
    for path, said in zip(FILES, theirs, strict=True):
        try:
            caveats = [c.caveat for c in x509.parse_certificates(content(path))]
            problem = "".join(said for said in caveats if not said.startswith(OLDER))
        except x509.X509Error as error:
            problem = error.message
            if error.kind == "unread":
                unread.add(path.name)
                problem = ""
        if (problem == "") != (said == ""):
            differ.append((path.name, problem, said))
    assert (unread, differ) == (UNREAD, [])


@lru_cache
def seeds() -> list[bytes]:
    ca, (cert, key) = house()
    return [ca.cert, cert, cert + ca.cert, cert + key]


CHUNKS = [
    b"",
    b"\n",
    b"\r\n",
    b"-----BEGIN CERTIFICATE-----\n",
    b"\n-----END CERTIFICATE-----",
    b"a: b\n\n",
    b"=",
    b"\0",
]
EDIT = st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(CHUNKS) | st.binary(max_size=8))


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for place, cut, chunk in edits:
        at = int(place * len(data))
        data = data[:at] + chunk + data[at + cut :]
    return data


def flipped(data: bytes, seed: int, count: int) -> bytes:
    """PEM whose DER has bytes changed: what parsers are made of."""
    rng = random.Random(seed)
    der = bytearray(next(pem.blocks(data))[1])
    for _ in range(count):
        der[rng.randrange(len(der))] = rng.randrange(256)
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"


MUTATED = st.builds(lambda i, e: edited(seeds()[i], e), st.integers(0, 3), st.lists(EDIT, min_size=1, max_size=4)) | (
    st.builds(lambda i, s, n: flipped(seeds()[i], s, n), st.integers(0, 1), st.integers(0, 10**9), st.integers(1, 3))
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(MUTATED, st.sampled_from(["node.crt", "ui.crt", "ca.crt"]))
def test_vectors_mutated_give_finding_or_clean_verdict(data: bytes, name: str) -> None:
    """PEM with pieces cut, doubled and inserted, DER with bytes changed: a finding or a clean verdict, quickly."""
    with tempfile.TemporaryDirectory() as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(made)
        ca, (cert, key) = house()
        for file, text in (
            ("node.crt", cert),
            ("node.key", key),
            ("ui.crt", cert),
            ("ui.key", key),
            ("ca.crt", ca.cert),
        ):
            (path / file).write_bytes(text)
            os.chmod(path / file, 0o600)
        judge(path, name, data)


@pytest.mark.real
def test_pem_mutated_is_read_as_in_go() -> None:
    """encoding/pem finds the same blocks in a mutated file: of two thousand files the same ones load."""
    rng = random.Random(7)
    texts = []
    for _ in range(2000):
        edits = [(rng.random(), rng.choice([0, 0, 1, 5, 40]), rng.choice(CHUNKS)) for _ in range(rng.randrange(1, 4))]
        texts.append(edited(rng.choice(seeds()), edits))
    differ = []
    for text, said in zip(texts, ask(((t, b"", "", 0) for t in texts), RECENT), strict=True):
        try:
            x509.parse_certificates(text)
        except x509.X509Error:
            differ += [(text, said)] if said == "" else []
        else:
            differ += [(text, said)] if said else []
    assert differ == []
