"""One certificate of a chain, with everything that verification asks of it, read once."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from certagent.x509.certificate import Certificate
from certagent.x509.constraints import Names, Subtrees, names_of, subtrees_of
from certagent.x509.parsing import USAGES, public_half, signed_with

HANDLED = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
    }
)
DIGESTS = frozenset({"sha256", "sha384", "sha512", ""})  # what Go takes in a signature; it never knew SHA-224
EMPTY = "(empty)"
VERIFYING = ("rsa-", "ecdsa-", "ed25519")  # keys that Go verifies signatures by


@dataclass(frozen=True, slots=True)
class Node:
    """One certificate of a chain."""

    certificate: Certificate
    der: bytes
    subject: bytes
    issuer: bytes
    text: str
    spki: bytes
    start: datetime
    end: datetime
    version: x509.Version
    constraints: x509.BasicConstraints | None
    may_sign: bool
    verifies: bool  # Go can verify a signature by its key
    usages: frozenset[str] | None
    unhandled: tuple[str, ...]
    weak: str  # the signature's hash, where Go refuses it
    names: Names = field(default_factory=Names)
    subtrees: Subtrees | None = None

    @property
    def identity(self) -> tuple[bytes, bytes, Names]:
        """Subject, key and names, which may occur in a chain only once."""
        return self.subject, self.spki, self.names


@lru_cache(maxsize=64)
def node_of(loaded: Certificate) -> Node:
    """Given a certificate, read what verification asks of it; what cryptography raises passes through. Kept."""
    certificate = loaded.shown
    extensions = list(certificate.extensions)
    values = {type(e.value): e.value for e in extensions}
    eku, constraints = values.get(x509.ExtendedKeyUsage), values.get(x509.BasicConstraints)
    sans, subtrees = values.get(x509.SubjectAlternativeName), values.get(x509.NameConstraints)
    kind, spki = public_half(certificate)
    signature = signed_with(certificate)
    return Node(
        certificate=loaded,
        der=loaded.der,
        subject=loaded.subject,
        issuer=loaded.issuer,
        text=loaded.names[0].whole or EMPTY,
        spki=spki,
        start=certificate.not_valid_before_utc,
        end=certificate.not_valid_after_utc,
        version=certificate.version,
        constraints=constraints if isinstance(constraints, x509.BasicConstraints) else None,
        may_sign=_may_sign(values.get(x509.KeyUsage)),
        verifies=kind.startswith(VERIFYING),
        usages=frozenset(USAGES.get(o.dotted_string, "") for o in eku)
        if isinstance(eku, x509.ExtendedKeyUsage)
        else None,
        unhandled=tuple(e.oid.dotted_string for e in extensions if e.critical and not _handled(e)),
        weak="" if signature in DIGESTS else signature,
        names=names_of(sans) if isinstance(sans, x509.SubjectAlternativeName) else Names(),
        subtrees=subtrees_of(subtrees) if isinstance(subtrees, x509.NameConstraints) else None,
    )


def _may_sign(value: x509.ExtensionType | None) -> bool:
    """An extension without a single bit says nothing, as Go has it."""
    if not isinstance(value, x509.KeyUsage):
        return True
    others = (
        value.digital_signature,
        value.content_commitment,
        value.key_encipherment,
        value.data_encipherment,
        value.key_agreement,
        value.crl_sign,
    )
    return value.key_cert_sign or not any(others)


def _handled(extension: x509.Extension[x509.ExtensionType]) -> bool:
    """Go has an eye on it; of alternative names and name constraints only on the kinds that it reads."""
    value = extension.value
    if isinstance(value, x509.SubjectAlternativeName):
        return names_of(value).known
    if isinstance(value, x509.NameConstraints):
        found = subtrees_of(value)
        return not found.permitted.others and not found.excluded.others
    return extension.oid in HANDLED
