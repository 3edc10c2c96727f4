"""cryptography's own verifier, as far as it goes: it finds a chain and checks its signatures.

Its web-PKI rules about extensions are turned off by policy (no SAN in a client's certificate, no authority key
identifier in cockroach's own): chain.py applies Go's rules to the chain that it returns. What cannot be turned off, and
where chain.py therefore searches itself: keys and signatures outside the web's list (a CA with an Ed25519 key, RSA
under 2048 bits), version 1 roots, an empty issuer, a leaf that is itself a root; and where the first chain it finds is
not one that Go accepts, it finds no other. Its refusals say only "candidates exhausted", so every reason comes from
chain.py.
"""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from certagent.x509.errors import REFUSALS

CAS = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
LEAVES = ExtensionPolicy.permit_all()


def chain_to(
    store: Store, leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], at: datetime
) -> list[x509.Certificate]:
    """Given a bundle, a leaf, what came with it and a moment, return the chain that was found, [] without one."""
    try:
        policy = PolicyBuilder().store(store).time(at).extension_policies(ca_policy=CAS, ee_policy=LEAVES)
        return policy.build_client_verifier().verify(leaf, list(intermediates)).chain
    except (VerificationError, *REFUSALS):
        return []
