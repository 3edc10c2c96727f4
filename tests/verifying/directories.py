"""Generated directories: descriptions from a fixed seed, and the bytes, values and files that each stands for."""

import errno
import os
import random
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from certagent import x509
from certagent.core import names
from certagent.core.facts import CertFile, File, FileKind, KeyFile, LoaderFlags, Pair
from certagent.demo.loader import Flags, Found
from tests.making import DAY, make_ca
from tests.verifying.rulebook import CERTS, IDENTITIES, KEYS, MODES, NAMES, OWNERS, STANDS, Crt, Directory, Key, Rules

USER, GROUP = 54321, 54322
URIS = {
    "app by its URI": "crdb://tenant/1/user/app",
    "node by its URI": "crdb://tenant-name/system/user/node",
    "root by its URI": "crdb://tenant/1/user/root",
    "root of tenant 10": "crdb://tenant/10/user/root",
    "a malformed URI": "crdb://x",
}
OWN = {"client.root": "root", "client.app": "app", "client.a.b": "a.b"}
OWNED = {"user": (USER, GROUP), "root and group": (0, GROUP), "root": (0, 0)}
KINDS: dict[str, FileKind] = {"dangling": "symlink", "link to a directory": "symlink", "FIFO": "fifo"}
NODE_DN = "O=Cockroach,CN=custom"


def directories(count: int, seed: int) -> Iterator[tuple[Directory, Rules]]:
    """Sound ones with up to three oddities each: a directory of noise is refused for whatever comes first."""
    rng = random.Random(seed)
    for _ in range(count):
        stems = ["ca", "node", *rng.sample(list(NAMES), rng.randrange(4))]
        directory = {stem: (Crt(identity=OWN.get(stem, "node")), Key()) for stem in stems}
        for _ in range(rng.randrange(4)):
            stem = rng.choice(stems)
            directory[stem] = odd(rng, *directory[stem])
        mapped = rng.choice(["", "", "node", "root"])
        yield directory, Rules(rng.random() < 0.4, rng.random() < 0.1, mapped, rng.random() < 0.1)


def odd(rng: random.Random, crt: Crt, key: Key) -> tuple[Crt, Key]:
    """The pair with one thing changed."""
    match rng.randrange(6):
        case 0:
            return Crt(rng.choice(list(CERTS)), crt.stands, crt.identity), key
        case 1:
            return Crt(crt.content, rng.choice(list(STANDS)), crt.identity), key
        case 2:
            return Crt(crt.content, crt.stands, rng.choice(list(IDENTITIES))), key
        case 3:
            return crt, Key(rng.choice(list(KEYS)), key.stands, key.mode, key.owner)
        case 4:
            stands = rng.choice([s for s in STANDS if s != "unreadable"])
            return crt, Key(key.content, stands, key.mode, key.owner)
    return crt, Key(key.content, key.stands, rng.choice(MODES), rng.choice(list(OWNERS)))


@lru_cache
def issued(identity: str) -> tuple[bytes, bytes]:
    """Certificate and key."""
    ca, key = house(), x509.generate_key("ecdsa-p256")
    uris = (URIS[identity],) if identity in URIS else ()
    unit = "Tenants" if identity == "a tenant's" else ""
    csr = x509.make_csr(key, IDENTITIES[identity][0], uris, unit=unit)
    span = {"not_before": ca.at - DAY, "not_after": ca.at + 30 * DAY}
    return x509.sign_csr(csr, ca.cert, ca.key, server=True, client=True, **span), key


house = lru_cache(make_ca)


@lru_cache
def cert_bytes(content: str, identity: str) -> bytes:
    """The bytes of a certificate's file; the bundles of a directory are leaves, too, which no loader minds."""
    pem, key = issued(identity)
    headed = pem.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nComment: house\n\n", 1)
    return {
        "good": pem,
        "chain": pem + house().cert,
        "text before": b"subject=CN\n\n" + pem,
        "CRLF": pem.replace(b"\n", b"\r\n"),
        "headers": headed,
        "headers, then plain": headed + house().cert,
        "a damaged block later": pem + b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "a key": key,
        "cut": pem[:200],
        "garbage": b"\0\xff garbage",
        "white": b" \n",
        "empty": b"",
    }[content]


@lru_cache
def key_bytes(content: str, identity: str) -> bytes:
    """The bytes of a key's file."""
    pem = issued(identity)[1]
    begin, rest = pem.split(b"\n", 1)
    locked = load_pem_private_key(pem, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    return {
        "good": pem,
        "CRLF": pem.replace(b"\n", b"\r\n"),
        "a blank line before END": pem.replace(b"-----END", b"\n-----END"),
        "a header": begin + b"\nComment: node\n" + rest,
        "parameters before": b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + pem,
        "another's": issued("app" if identity != "app" else "node")[1],
        "a byte order mark": b"\xef\xbb\xbf" + pem,
        "CR alone": pem.replace(b"\n", b"\r"),
        "indented": b"  " + pem,
        "encrypted": locked,
        "garbage": b"garbage",
        "empty": b"",
    }[content]


def flags_of(rules: Rules) -> tuple[LoaderFlags, Flags]:
    """The same for the core and for the stand-in."""
    pairs = {"custom": rules.mapped} if rules.mapped else {}
    dn = NODE_DN if rules.node_dn else ""
    core = LoaderFlags(rules.skip, tuple(pairs.items()), dn, release=(24, 1) if rules.old else (25, 2))
    return core, Flags(pairs, dn, rules.skip, rules.old)


class Values:
    """A directory as the values that reading it would give: nothing is written."""

    def __init__(self, directory: Directory) -> None:
        """Of that description."""
        self._directory = directory

    @property
    def crts(self) -> list[str]:
        """What the loader lists."""
        return [f"{stem}.crt" for stem, (crt, _) in self._directory.items() if STANDS[crt.stands]]

    def found(self, name: str) -> Found:
        """A file as the stand-in has it."""
        stem = name[:-4]
        crt, key = self._directory[stem]
        if name.endswith(".crt"):
            return _found(crt.stands, 0o644, (USER, GROUP), cert_bytes(crt.content, crt.identity), readable=True)
        data = key_bytes(key.content, crt.identity)
        return _found(key.stands, key.mode, OWNED[key.owner], data, readable=bool(key.mode & OWNERS[key.owner][1]))

    def facts(self) -> tuple[tuple[Pair, ...], tuple[File, ...]]:
        """Pairs and other files as the core has them."""
        pairs, others = [], []
        for stem, (crt, key) in self._directory.items():
            name = names.parse(stem)
            if isinstance(name, names.Unknown) or crt.stands == "directory":
                if crt.stands != "absent":
                    others.append(_file(f"{stem}.crt", "directory" if crt.stands == "directory" else "file"))
                continue
            cert = None if crt.stands == "absent" else _cert(stem, crt)
            own = None if name.is_bundle or key.stands in {"absent", "directory"} else _key(stem, crt, key)
            pairs.append(Pair(name, cert, own))
        return tuple(pairs), tuple(others)


def _found(stands: str, mode: int, owner: tuple[int, int], data: bytes, *, readable: bool) -> Found:
    if stands in {"absent", "dangling"}:
        return Found(error=OSError(errno.ENOENT, "No such file or directory"))
    kind = {"FIFO": stat.S_IFIFO, "directory": stat.S_IFDIR, "link to a directory": stat.S_IFDIR}
    info = os.stat_result((kind.get(stands, stat.S_IFREG) | mode, 1, 1, 1, *owner, len(data), 0, 0, 0))
    if stands in kind:
        return Found(info)
    if stands == "unreadable" or not readable:
        return Found(info, error=OSError(errno.EACCES, "Permission denied"))
    return Found(info, data)


def _file(name: str, kind: FileKind, mode: int = 0o644, owner: tuple[int, int] = (USER, GROUP)) -> File:
    return File(name, kind, mode, *owner, 1000, 1, 1, 0, 0)


def _cert(stem: str, crt: Crt) -> CertFile:
    file = _file(f"{stem}.crt", KINDS.get(crt.stands, "file"))
    if crt.stands in KINDS:
        return CertFile(file, "", None, (), f"a {file.kind}", "irregular")
    if crt.stands == "unreadable":
        return CertFile(file, "", None, (), "Permission denied", "unreadable")
    return x509.cert_file(file, cert_bytes(crt.content, crt.identity))


def _key(stem: str, crt: Crt, key: Key) -> KeyFile:
    file = _file(f"{stem}.key", KINDS.get(key.stands, "file"), key.mode, OWNED[key.owner])
    if key.stands in KINDS:
        return KeyFile(file, "", None, "", f"a {file.kind}", "irregular")
    if not key.mode & OWNERS[key.owner][1]:
        return KeyFile(file, "", None, "", "Permission denied", "unreadable")
    return x509.key_file(file, key_bytes(key.content, crt.identity))


def written(directory: Directory, place: Path) -> None:
    """Write it, for a process of USER and GROUP; root alone can."""
    outside = place.parent / "outside"
    for stem, (crt, key) in directory.items():
        unreadable = 0 if crt.stands == "unreadable" else 0o644
        owned = (cert_bytes(crt.content, crt.identity), unreadable, (USER, GROUP))
        _write(place / f"{stem}.crt", outside, crt.stands, *owned)
        _write(place / f"{stem}.key", outside, key.stands, key_bytes(key.content, crt.identity), key.mode,
               OWNED[key.owner])  # fmt: skip


def _write(path: Path, outside: Path, stands: str, data: bytes, mode: int, owner: tuple[int, int]) -> None:
    match stands:
        case "absent":
            return
        case "dangling":
            path.symlink_to("nowhere")
        case "link to a directory":
            path.symlink_to("/etc")
        case "FIFO":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case _:
            file = outside / path.name if stands == "link" else path
            file.write_bytes(data)
            os.chown(file, *owner)
            file.chmod(mode)
            if stands == "link":
                path.symlink_to(file)
