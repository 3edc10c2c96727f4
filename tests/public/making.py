"""Certificates and keys that are the same on every day, but for their dates: each key follows from its name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
LIFE = (-30, 90)  # days from now: 120 days, so that a third, a sixth and a twentieth of it are whole days
CA_LIFE = (-30, 3570)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    @property
    def key_pem(self) -> bytes:
        kind = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(PEM, kind, serialization.NoEncryption())


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What a leaf says. `days`: from when until when, counted from now."""

    user: str = "node"
    names: Sequence[str] = ()
    usages: Sequence[str] = ("server", "client")
    days: tuple[int, int] = LIFE
    responder: str = ""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Makes certificates whose dates are relative to `now`, and knows the name of each fingerprint that it made."""

    now: datetime  # a whole minute: some sentences leave the seconds out
    known: dict[str, str] = field(default_factory=dict)

    def ca(self, name: str, days: tuple[int, int] = CA_LIFE) -> Made:
        """A root."""
        key, subject = key_of(name), subject_of(f"{name} CA")
        builder = self._builder(name, subject, subject, key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        builder = builder.add_extension(usage(ca=True), critical=True)
        return self._known(name, Made(certificate=builder.sign(key, hashes.SHA256()), key=key))

    def leaf(self, ca: Made, name: str, says: Leaf) -> Made:
        """A certificate by a CA."""
        key = key_of(name)
        builder = self._builder(name, ca.certificate.subject, subject_of(says.user), key, says.days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(usage(ca=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([USAGES[u] for u in says.usages]), critical=False)
        if says.names:
            builder = builder.add_extension(x509.SubjectAlternativeName([general(n) for n in says.names]), False)
        if says.responder:
            where = x509.UniformResourceIdentifier(says.responder)
            place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
        return self._known(name, Made(certificate=builder.sign(ca.key, hashes.SHA256()), key=key))

    def _builder(
        self, name: str, issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[int, int]
    ) -> x509.CertificateBuilder:
        begin, end = (self.now + n * DAY for n in days)
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), number(name) >> 100, begin, end)
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)

    def _known(self, name: str, made: Made) -> Made:
        self.known[sha256(made.certificate.public_bytes(DER)).hexdigest()] = name
        return made


def this_minute() -> datetime:
    """The moment that every date of the tests is counted from."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def number(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest())


def key_of(name: str) -> ec.EllipticCurvePrivateKey:
    """The key that belongs to a name, always the same."""
    return ec.derive_private_key(number(name) >> 1, ec.SECP256R1())


def subject_of(common_name: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Cockroach")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def general(name: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)


def usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
