"""Chains of all kinds, made from a fixed seed: sound ones, and ones with a fault or two.

Keys are made once and used again. Every case is a certificate file, a bundle, a usage and a moment.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SERVER, CLIENT, ANY, CODE = Eku.SERVER_AUTH, Eku.CLIENT_AUTH, Eku.ANY_EXTENDED_KEY_USAGE, Eku.CODE_SIGNING
RSA_SHA256, RSA_SHA1 = (bytes.fromhex(f"06092a864886f70d0101{last}") for last in ("0b", "05"))
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


@lru_cache(maxsize=64)
def key(kind: str, _number: int) -> Any:
    """The key of that kind and number."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[4:]))
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind])


@dataclass(frozen=True)
class Spec:
    """One certificate to be; a CA unless `leaf`."""

    name: str
    key: tuple[str, int]
    leaf: bool = False
    ca: bool | None = True  # None: without basicConstraints
    path: int | None = None
    eku: tuple[x509.ObjectIdentifier, ...] = ()
    sign: bool | None = True  # keyCertSign; None: without keyUsage
    start: timedelta = -10 * DAY
    end: timedelta = 300 * DAY
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    mails: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    permitted: tuple[x509.GeneralName, ...] = ()
    excluded: tuple[x509.GeneralName, ...] = ()
    critical: bool = True  # the name constraints
    digest: Any = hashes.SHA256
    sha1: bool = False  # signed with RSA and SHA-1, where the issuer's key is RSA
    strange: bool | None = None  # a critical (True) or other (False) extension nobody knows
    common_name: str = ""
    named_key: bool = False  # with an authority key identifier


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def issue(spec: Spec, issuer: Spec, signer: tuple[str, int] | None = None) -> bytes:
    """The certificate as PEM, signed by the issuer's key, or by another."""
    own, by = key(*spec.key), key(*(signer or issuer.key))
    builder = x509.CertificateBuilder(
        name_of(issuer.name),
        name_of(spec.common_name or spec.name),
        own.public_key(),
        x509.random_serial_number(),
        NOW + spec.start,
        NOW + spec.end,
    )
    for extension, critical in _extensions(spec):
        builder = builder.add_extension(extension, critical)
    if spec.named_key:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
    made = builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else spec.digest())
    return sha1_signed(made, by) if spec.sha1 else made.public_bytes(serialization.Encoding.PEM)


def sha1_signed(made: x509.Certificate, by: Any) -> bytes:
    """The same certificate signed with RSA and SHA-1, which cryptography no longer does itself."""
    if not isinstance(by, rsa.RSAPrivateKey):
        return made.public_bytes(serialization.Encoding.PEM)
    tbs = made.tbs_certificate_bytes.replace(RSA_SHA256, RSA_SHA1)
    der = made.public_bytes(serialization.Encoding.DER).replace(RSA_SHA256, RSA_SHA1)
    signature = by.sign(tbs, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - what is refused must be made first
    der = der.replace(made.signature, signature)
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


def _extensions(spec: Spec) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if spec.ca is not None and not spec.leaf:
        yield x509.BasicConstraints(spec.ca, spec.path if spec.ca else None), True
    if spec.sign is not None:
        sign = spec.sign and not spec.leaf
        yield x509.KeyUsage(not sign, False, not sign, False, False, sign, sign, False, False), True
    if spec.eku:
        yield x509.ExtendedKeyUsage(spec.eku), False
    sans: list[x509.GeneralName] = [x509.DNSName(n) for n in spec.dns]
    sans += [x509.IPAddress(ip_address(n)) for n in spec.ips]
    sans += [x509.RFC822Name(n) for n in spec.mails] + [x509.UniformResourceIdentifier(n) for n in spec.uris]
    if sans:
        yield x509.SubjectAlternativeName(sans), False
    if spec.permitted or spec.excluded:
        yield x509.NameConstraints(spec.permitted or None, spec.excluded or None), spec.critical
    if spec.strange is not None:
        yield STRANGE, spec.strange
    yield x509.SubjectKeyIdentifier.from_public_key(key(*spec.key).public_key()), False


@dataclass(frozen=True)
class Case:
    """What is verified, and the labels of what was done to it."""

    labels: tuple[str, ...]
    certs: bytes
    bundle: bytes
    usage: str = "server"
    at: datetime = NOW
    openssl: str = ""  # why OpenSSL differs from Go by design, where it does
    go: str = ""  # why one Go differs from another


@dataclass
class Chain:
    """Root, intermediates, leaf; and how they are laid out."""

    specs: list[Spec]
    signers: dict[int, tuple[str, int]] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    bundle_also: list[bytes] = field(default_factory=list)
    file_also: list[bytes] = field(default_factory=list)
    root_missing: bool = False
    usage: str = "server"
    at: datetime = NOW
    labels: list[str] = field(default_factory=list)
    openssl: str = ""

    def case(self, order: random.Random) -> Case:
        made = [issue(s, self.specs[max(0, i - 1)], self.signers.get(i)) for i, s in enumerate(self.specs)]
        bundle = [*([] if self.root_missing else [made[0]]), *self.bundle_also]
        between = [c for i, c in enumerate(made[1:-1], 1) if i not in self.missing] + self.file_also
        order.shuffle(bundle)
        order.shuffle(between)
        certs = b"".join([made[-1], *between])
        return Case(tuple(self.labels), certs, b"".join(bundle), self.usage, self.at, self.openssl)


def sound(rng: random.Random, depth: int) -> Chain:
    """A chain of that many intermediates, without a fault."""
    kinds = ["p256", "p256", "p384", "rsa-2048", "ed25519", "p521"]
    specs = [Spec("root", (rng.choice(kinds), 0))]
    specs += [Spec(f"ca {i}", (rng.choice(kinds), i)) for i in range(1, depth + 1)]
    usage = rng.choice(["server", "client"])
    eku = rng.choice([(), (SERVER, CLIENT), (SERVER,) if usage == "server" else (CLIENT,)])
    dns, ips = (("node", "db1.example.com", "localhost"), ("10.0.0.5",)) if usage == "server" else ((), ())
    specs.append(Spec("leaf", (rng.choice(kinds), 9), leaf=True, eku=eku, dns=dns, ips=ips, common_name="node"))
    return Chain(specs, usage=usage, labels=[f"depth {depth}"])


def change(chain: Chain, place: int, **fields: Any) -> None:
    chain.specs[place] = replace(chain.specs[place], **fields)


def a_ca(chain: Chain, rng: random.Random) -> int:
    """The place of some CA."""
    return rng.randrange(len(chain.specs) - 1)


def expired_ca(chain: Chain, rng: random.Random) -> None:
    change(chain, a_ca(chain, rng), end=-1 * DAY)


def future_ca(chain: Chain, rng: random.Random) -> None:
    change(chain, a_ca(chain, rng), start=DAY)


def expired_leaf(chain: Chain, _: random.Random) -> None:
    change(chain, -1, end=-1 * DAY)


def not_a_ca(chain: Chain, rng: random.Random) -> None:
    change(chain, a_ca(chain, rng), ca=False)


def without_constraints(chain: Chain, rng: random.Random) -> None:
    change(chain, max(1, a_ca(chain, rng)) if len(chain.specs) > 2 else 0, ca=None)
    chain.openssl = "OpenSSL takes keyCertSign for a CA where basicConstraints are absent; Go does not"


def may_not_sign(chain: Chain, rng: random.Random) -> None:
    change(chain, a_ca(chain, rng), sign=False)


def no_key_usage(chain: Chain, rng: random.Random) -> None:
    change(chain, a_ca(chain, rng), sign=None)


def path_length(chain: Chain, rng: random.Random) -> None:
    change(chain, a_ca(chain, rng), path=rng.randrange(3))


def eku_nesting(chain: Chain, rng: random.Random) -> None:
    place = a_ca(chain, rng)
    change(chain, place, eku=rng.choice([(SERVER,), (CLIENT,), (CODE,), (SERVER, CLIENT)]))


def leaf_eku(chain: Chain, rng: random.Random) -> None:
    change(chain, -1, eku=rng.choice([(SERVER,), (CLIENT,), (CODE,)]))


def any_eku(chain: Chain, _: random.Random) -> None:
    change(chain, -1, eku=(ANY,))
    chain.openssl = "OpenSSL's purposes do not take anyExtendedKeyUsage for one they know; Go does"


def wrong_signature(chain: Chain, rng: random.Random) -> None:
    chain.signers[rng.randrange(1, len(chain.specs))] = ("p256", 33)


def missing_intermediate(chain: Chain, _: random.Random) -> None:
    chain.missing = set(range(1, len(chain.specs) - 1))


def intermediate_in_the_bundle(chain: Chain, _: random.Random) -> None:
    """The bundle's intermediate is a root of its own right, whatever stands above it."""
    if len(chain.specs) > 2:
        chain.missing = {len(chain.specs) - 2}
        chain.bundle_also.append(issue(chain.specs[-2], chain.specs[-3]))


def root_missing(chain: Chain, _: random.Random) -> None:
    chain.root_missing = True
    chain.bundle_also.append(issue(Spec("another", ("p256", 40)), Spec("another", ("p256", 40))))


def several_cas(chain: Chain, rng: random.Random) -> None:
    for number in range(rng.randrange(1, 4)):
        other = Spec(f"other {number}", ("p256", 41 + number), end=rng.choice([-1, 100]) * DAY)
        chain.bundle_also.append(issue(other, other))


def namesake(chain: Chain, _: random.Random) -> None:
    """A root of the same name with another key."""
    chain.openssl = "without key identifiers OpenSSL tries one issuer of a name; Go tries all"
    chain.bundle_also.append(issue(Spec("root", ("p256", 45)), Spec("root", ("p256", 45))))


def renewed_root(chain: Chain, _: random.Random) -> None:
    """The expired root beside its successor with the same key."""
    chain.bundle_also.append(issue(replace(chain.specs[0], end=-1 * DAY), chain.specs[0]))


def cross_signed(chain: Chain, _: random.Random) -> None:
    """The root is not there, but its cross-signature by another that is."""
    other = Spec("other root", ("p256", 46))
    chain.root_missing = True
    chain.bundle_also.append(issue(other, other))
    chain.file_also.append(issue(chain.specs[0], other))


def cross_signed_expired(chain: Chain, _: random.Random) -> None:
    """An expired cross-signature beside the root itself does no harm."""
    other = Spec("other root", ("p256", 47))
    chain.bundle_also.append(issue(other, other))
    chain.file_also.append(issue(replace(chain.specs[0], end=-1 * DAY), other))


def strange_critical(chain: Chain, rng: random.Random) -> None:
    change(chain, rng.randrange(len(chain.specs)), strange=True)


def strange(chain: Chain, rng: random.Random) -> None:
    change(chain, rng.randrange(len(chain.specs)), strange=False)


def sha1(chain: Chain, rng: random.Random) -> None:
    place = rng.randrange(1, len(chain.specs))
    change(chain, place - 1, key=("rsa-2048", place))
    change(chain, place, sha1=True)
    chain.openssl = "Go refuses SHA-1 in every signature; `openssl verify` at its default level takes it"


def sha224(chain: Chain, rng: random.Random) -> None:
    place = rng.randrange(1, len(chain.specs))
    change(chain, place - 1, key=("p256", place))
    change(chain, place, digest=hashes.SHA224)
    chain.openssl = "Go never knew SHA-224; OpenSSL does"


def wrong_usage(chain: Chain, _: random.Random) -> None:
    chain.usage = "client" if chain.usage == "server" else "server"


def another_moment(chain: Chain, rng: random.Random) -> None:
    chain.at = NOW + rng.choice([-20, 20, 299, 301]) * DAY


def dns(*names: str) -> tuple[x509.GeneralName, ...]:
    return tuple(x509.DNSName(n) for n in names)


SUBTREES: list[dict[str, tuple[x509.GeneralName, ...]]] = [
    {"permitted": dns("example.com", "node", "localhost")},
    {"permitted": dns("example.com")},
    {"excluded": dns("example.com")},
    {"excluded": dns("db2.example.com", "other.org")},
    {"permitted": dns(".example.com", "node", "localhost")},
    {"permitted": (x509.IPAddress(ip_network("10.0.0.0/8")),)},
    {"permitted": (x509.IPAddress(ip_network("192.168.0.0/16")),)},
    {"excluded": (x509.IPAddress(ip_network("10.0.0.4/30")),)},
    {"permitted": (x509.IPAddress(ip_network("fd00::/8")),)},
    {"permitted": (*dns("example.com", "node", "localhost"), x509.IPAddress(ip_network("10.0.0.0/24")))},
    {"permitted": dns("Example.COM", "NODE", "localhost"), "excluded": dns("x.example.com")},
]
MAILS: list[tuple[dict[str, tuple[x509.GeneralName, ...]], tuple[str, ...], tuple[str, ...]]] = [
    ({"permitted": (x509.RFC822Name("example.com"),)}, ("a@example.com",), ()),
    ({"permitted": (x509.RFC822Name("example.com"),)}, ("a@other.org",), ()),
    ({"permitted": (x509.RFC822Name("a@example.com"),)}, ("a@example.com",), ()),
    ({"permitted": (x509.RFC822Name("a@example.com"),)}, ("b@example.com",), ()),
    ({"excluded": (x509.RFC822Name(".example.com"),)}, ("b@host.example.com",), ()),
    ({"permitted": (x509.UniformResourceIdentifier("example.com"),)}, (), ("https://example.com/x",)),
    ({"permitted": (x509.UniformResourceIdentifier(".example.com"),)}, (), ("spiffe://a.example.com/x",)),
    ({"excluded": (x509.UniformResourceIdentifier("tenant"),)}, (), ("crdb://tenant/1/user/root",)),
]


def name_constraints(chain: Chain, rng: random.Random) -> None:
    change(chain, a_ca(chain, rng), **rng.choice(SUBTREES), critical=rng.random() < 0.7)


def mails_and_uris(chain: Chain, rng: random.Random) -> None:
    subtrees, mails, uris = rng.choice(MAILS)
    change(chain, a_ca(chain, rng), **subtrees)
    change(chain, -1, mails=mails, uris=uris)


def directory_constraint(chain: Chain, rng: random.Random) -> None:
    """A kind of constraint that Go does not read: critical, it is refused."""
    directory = (x509.DirectoryName(name_of("node")),)
    critical = rng.random() < 0.5
    change(chain, a_ca(chain, rng), permitted=directory, critical=critical)
    chain.openssl = (
        "OpenSSL matches directory names; Go refuses the extension where it is critical, else passes it over"
    )


Fault = Callable[[Chain, random.Random], None]
FAULTS: list[Fault] = [
    expired_ca,
    future_ca,
    expired_leaf,
    not_a_ca,
    without_constraints,
    may_not_sign,
    no_key_usage,
    path_length,
    path_length,
    eku_nesting,
    eku_nesting,
    leaf_eku,
    any_eku,
    wrong_signature,
    missing_intermediate,
    intermediate_in_the_bundle,
    root_missing,
    several_cas,
    namesake,
    renewed_root,
    cross_signed,
    cross_signed_expired,
    strange_critical,
    strange,
    sha1,
    sha224,
    wrong_usage,
    another_moment,
    name_constraints,
    name_constraints,
    name_constraints,
    mails_and_uris,
    mails_and_uris,
    directory_constraint,
]


def cases(seed: int = 1, each: int = 9) -> list[Case]:
    """Sound chains, each fault several times by itself, and pairs of faults."""
    rng = random.Random(seed)
    found = [sound(rng, depth).case(rng) for depth in range(4) for _ in range(4)]
    plans: list[tuple[Fault, ...]] = [(f,) for f in FAULTS for _ in range(each)]
    plans += [tuple(rng.sample(FAULTS, 2)) for _ in range(60)]
    for plan in plans:
        chain = sound(rng, rng.choice([0, 1, 1, 2, 2, 3]))
        for fault in plan:
            before, chain.openssl = chain.openssl, ""
            fault(chain, rng)
            chain.openssl = chain.openssl or before
            chain.labels.append(fault.__name__)
        found.append(chain.case(rng))
    return [*found, *special(rng)]


def special(rng: random.Random) -> Iterator[Case]:
    """What is no chain of the usual kind."""
    own = Spec("self", ("p256", 50), leaf=True, dns=("localhost",), eku=(SERVER,))
    alone = issue(own, own)
    yield Case(("self-signed leaf in the bundle",), alone, alone)
    yield Case(("self-signed leaf, not in the bundle",), alone, issue(Spec("r", ("p256", 51)), Spec("r", ("p256", 51))))
    yield Case(("self-signed leaf in the bundle, wrong usage",), alone, alone, "client")
    deep = sound(rng, 12)
    deep.labels = ["twelve intermediates"]
    yield deep.case(rng)
    root = Spec("root", ("p256", 0))
    twice = Spec("root", ("p256", 1))
    leaf = Spec("leaf", ("p256", 9), leaf=True, dns=("localhost",))
    zero = replace(root, path=0)
    yield Case(
        ("self-issued intermediate beneath path length 0",),
        issue(replace(leaf, named_key=True), twice) + issue(replace(twice, named_key=True), zero),
        issue(zero, zero),
        openssl="RFC 5280 does not count self-issued intermediates; Go counts every one",
    )
    within = replace(root, permitted=dns("example.com"))
    for name in ("a..example.com", "..example.com", "*..example.com", ".example.com"):
        yield Case(
            (f"an empty label beneath constraints: {name}",),
            issue(replace(leaf, dns=(name,)), within),
            issue(within, within),
            openssl="a name with an empty label is refused beneath any constraint; OpenSSL compares its end",
            go="a later Go than 1.19 refuses a leading dot too; the stricter verdict is ours" if name[0] == "." else "",
        )
    wild = replace(leaf, dns=("*.example.com",))
    barred = replace(root, excluded=dns("db1.example.com"))
    yield Case(
        ("a wildcard over an excluded name",),
        issue(wild, barred),
        issue(barred, barred),
        openssl="a wildcard is refused where one of its instances is excluded; OpenSSL does not look at instances",
        go="refused by the constraints of a later Go than 1.19; the stricter verdict is ours",
    )
