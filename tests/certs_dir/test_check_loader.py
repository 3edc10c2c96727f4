"""`check` and the stand-in's loader were written apart: over generated directories they decide alike."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from certagent.core.facts import LoaderFlags
from certagent.core.policy import Owner, Policy
from certagent.demo.loader import Flags, dual_purpose_problem, load
from certagent.operations.check import Target, check
from certagent.posix.as_user import apart
from tests.certs_dir.test_certs import HOSTILE
from tests.making import Ca, filled, make_ca

ROOT = os.getuid() == 0
GID = 54321 if ROOT else os.getgid()
UID = 54321 if ROOT else os.getuid()
NAMES = [
    "ca",
    "ca-client",
    "ca-ui",
    "ca-client-tenant",
    "node",
    "ui",
    "client.root",
    "client.node",
    "client.a.b",
    "client....x",
    "client.",
    "client",
    "node.foo",
    "node.",
    "ca.client",
    "ui.x",
    "client-tenant.7",
    "tenant-signing.7",
    "client-tenant",
    "client-tenant.",
    "service.sql",
    "Node",
]
CN = ["node", "root", "custom", "7"]


@lru_cache
def house() -> Ca:
    return make_ca()


@lru_cache
def pair_of(user: str) -> tuple[bytes, bytes]:
    return house().pair(f"client.{user}")


def text(what: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(what) and None


def nothing(_: Path) -> None:
    pass


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def looping(path: Path) -> None:
    path.symlink_to(path.name)


def outside(content: Callable[[str], bytes], mode: int) -> Callable[[Path, str], None]:
    """A link out of the certs-dir, as certbot and cert-manager leave them."""

    def make(path: Path, user: str) -> None:
        target = path.parent.parent / "outside" / path.name
        target.write_bytes(content(user))
        target.chmod(mode)
        os.chown(target, UID, GID)
        path.symlink_to(target)

    return make


def inside(content: Callable[[str], bytes], mode: int, owner: tuple[int, int] = (UID, GID)) -> Any:
    def make(path: Path, user: str) -> None:
        path.write_bytes(content(user))
        path.chmod(mode)
        os.chown(path, *owner)

    return make


def plain(make: Callable[[Path], None]) -> Callable[[Path, str], None]:
    return lambda path, _: make(path)


def crt(user: str) -> bytes:
    return pair_of(user)[0]


def key(user: str) -> bytes:
    return pair_of(user)[1]


CERTS: dict[str, Callable[[Path, str], None]] = {
    "good": inside(crt, 0o644),
    "world-writable": inside(crt, 0o666),
    "chain": inside(lambda u: crt(u) + house().cert, 0o644),
    "text before": inside(lambda u: b"subject=CN\n\n" + crt(u), 0o644),
    "empty": inside(lambda _: b"", 0o644),
    "white": inside(lambda _: b" \n", 0o644),
    "garbage": inside(lambda _: b"\0\xff garbage", 0o644),
    "a key": inside(key, 0o644),
    "cut": inside(lambda u: crt(u)[:200], 0o644),
    "linked": outside(crt, 0o644),
    "absent": plain(nothing),
    "dangling": plain(dangling),
    "loop": plain(looping),
    "directory": plain(Path.mkdir),
    "a directory's link": plain(lambda path: path.symlink_to("/etc")),
    "unreadable": inside(crt, 0o000),
}
KEYS: dict[str, Callable[[Path, str], None]] = {
    "good": inside(key, 0o600),
    "0400": inside(key, 0o400),
    "0700": inside(key, 0o700),
    "0640": inside(key, 0o640),
    "0604": inside(key, 0o604),
    "0000": inside(key, 0o000),
    "4600": inside(key, 0o4600),
    "linked": outside(key, 0o600),
    "linked 0644": outside(key, 0o644),
    "absent": plain(nothing),
    "dangling": plain(dangling),
    "directory": plain(Path.mkdir),
    "empty": inside(lambda _: b"", 0o600),
    "garbage": inside(lambda _: b"garbage", 0o600),
    "another's": inside(lambda _: key("other"), 0o600),
}
if ROOT:
    KEYS |= {
        "root:group 0640": inside(key, 0o640, (0, GID)),
        "root:group 0740": inside(key, 0o740, (0, GID)),
        "root:group 0660": inside(key, 0o660, (0, GID)),
        "root:root 0640": inside(key, 0o640, (0, 0)),
        "root:root 0600": inside(key, 0o600, (0, 0)),
    }
ENTRY = st.tuples(st.sampled_from([*CERTS, *["good"] * 12]), st.sampled_from([*KEYS, *["good"] * 12]))
DIRECTORY = st.dictionaries(st.sampled_from(NAMES), st.tuples(ENTRY, st.sampled_from(CN)), max_size=8)
TERMS = st.builds(
    LoaderFlags,
    skip_key_check=st.booleans(),
    principal_map=st.sampled_from([(), (("custom", "node"),), (("custom", "root"), ("node", "x"))]),
    node_dn=st.sampled_from(["", "O=Cockroach,CN=custom", "CN=custom,O=Cockroach"]),
    release=st.sampled_from([None, (24, 1), (25, 4)]),
)


@contextmanager
def directory(entries: dict[str, tuple[tuple[str, str], str]]) -> Iterator[Path]:
    """A certs-dir of the user, and a place outside of it."""
    base = Path(tempfile.mkdtemp(prefix="certagent-test-"))
    base.chmod(0o755)
    for name in ("certs", "outside"):
        (base / name).mkdir(mode=0o755)
        os.chown(base / name, UID, GID)
    try:
        for stem, ((cert, own_key), user) in entries.items():
            CERTS[cert](base / "certs" / f"{stem}.crt", user)
            KEYS[own_key](base / "certs" / f"{stem}.key", user)
        yield base / "certs"
    finally:
        shutil.rmtree(base)


def loader_says(path: Path, terms: LoaderFlags) -> dict[str, bool]:
    """What the stand-in takes, run as the user."""
    old = terms.release is not None and terms.release <= (24, 1)
    flags = Flags(dict(terms.principal_map), terms.node_dn, terms.skip_key_check, old)

    def taking() -> dict[str, bool]:
        material = load(str(path), flags, GID)
        found = {f"{stem}.crt": not entry.error for stem, entry in material.entries.items()}
        return found | ({"node.crt": False} if dual_purpose_problem(material) else {})

    taken = apart((UID, GID), taking, [GID])
    return {n.name: taken.get(n.name, False) for n in path.iterdir() if n.name.endswith(".crt")}


def target(path: Path, terms: LoaderFlags) -> Target:
    return Target(Policy(str(path), Owner("cockroach", UID, GID), ""), terms, GID, (GID,))


@pytest.mark.slow
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(DIRECTORY, TERMS)
@example({"node": (("good", "good"), "custom"), "client.node": (("empty", "good"), "node")}, LoaderFlags())
@example({"node": (("good", "good"), "custom"), "client.node": (("directory", "good"), "node")}, LoaderFlags())
@example({"node": (("good", "good"), "custom")}, LoaderFlags(node_dn="CN=custom,O=Cockroach"))
@example({"client.root": (("good", "linked 0644"), "root")}, LoaderFlags(skip_key_check=True))
@example({"client.root": (("linked", "linked"), "custom")}, LoaderFlags(principal_map=(("custom", "root"),)))
@example({"ca-client": (("directory", "good"), "node")}, LoaderFlags())
@example({"ui": (("a directory's link", "good"), "node"), "ca": (("directory", "absent"), "node")}, LoaderFlags())
def test_check_accepts_what_the_loader_accepts(
    entries: dict[str, tuple[tuple[str, str], str]], terms: LoaderFlags
) -> None:
    """For each .crt the same accept or reject; and whatever is rejected is a finding with a remedy."""
    with directory(entries) as path:
        expected = loader_says(path, terms)
        document = check(target(path, terms))
    assert expected == {f["name"]: f["accepted"] for f in document["files"]}
    about = {f["file"].removesuffix(".key").removesuffix(".crt") for f in document["findings"] if f["remedy"]}
    assert {n.removesuffix(".crt") for n, taken in expected.items() if not taken} <= about
    assert all(f["reason"] for f in document["files"] if not f["accepted"])


@pytest.mark.parametrize("kind", list(KEYS))
def test_check_loader_key_types(kind: str) -> None:
    """Each kind of key once, with and without the permission check."""
    for terms in (LoaderFlags(), LoaderFlags(skip_key_check=True)):
        with directory({"node": (("good", kind), "node")}) as path:
            assert loader_says(path, terms) == {f["name"]: f["accepted"] for f in check(target(path, terms))["files"]}


@pytest.mark.parametrize("kind", list(CERTS))
def test_check_loader_certificate_kinds(kind: str) -> None:
    """Each kind of certificate once, as a pair and as a bundle."""
    with directory({"client.root": ((kind, "good"), "root"), "ca": ((kind, "absent"), "root")}) as path:
        assert loader_says(path, LoaderFlags()) == {
            f["name"]: f["accepted"] for f in check(target(path, LoaderFlags()))["files"]
        }


@pytest.mark.parametrize("ending", ["crt", "key"])
@pytest.mark.parametrize("make", HOSTILE, ids=lambda f: f.__name__)
def test_check_loader_hostile_entries(tmp_path: Path, make: Callable[[Path], None], ending: str) -> None:
    """Links are followed, and still nothing blocks or is lost; the neighbours are judged."""
    filled(tmp_path, "node", "ui")
    (tmp_path / f"ui.{ending}").unlink()
    make(tmp_path / f"ui.{ending}")
    document = check(
        Target(Policy(str(tmp_path), Owner("root", os.getuid(), os.getgid()), ""), LoaderFlags(), os.getgid())
    )
    found = {f["name"]: f["accepted"] for f in document["files"]}
    assert found == {"ca.crt": True, "node.crt": True, "ui.crt": False}
