"""The live pairs of a directory, with what follows from them alone: found once for as long as no file changes."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from hashlib import sha256

from certagent.core.facts.certificates import Pair
from certagent.core.names import CA, CA_CLIENT, CA_TENANT, CLIENT_NODE


class Pairs(tuple[Pair, ...]):  # noqa: SLOT001 - what is found once is kept in it
    """The pairs and bundles. A scan that finds every file as it was gives the same object again."""

    @cached_property
    def by_stem(self) -> Mapping[str, Pair]:
        """For a directory of ten thousand pairs."""
        return {p.name.stem: p for p in self}

    @cached_property
    def bundles(self) -> frozenset[str]:
        """The stems of the trust bundles that are there and parse."""
        return frozenset(p.name.stem for p in self if p.name.is_bundle and p.leaf)

    @cached_property
    def listed_bundles(self) -> frozenset[str]:
        """The stems of the trust bundles that are there, readable or not: by these cockroach verifies."""
        return frozenset(p.name.stem for p in self if p.name.is_bundle and p.listed)

    @cached_property
    def split(self) -> bool:
        """Whether `client.node` is there: then it is the node's client certificate."""
        return any(p.name == CLIENT_NODE and p.listed for p in self)

    @cached_property
    def loaded(self) -> tuple[Pair, ...]:
        """The pairs and bundles a server loads and uses: all but the clients' (`client.node` is the node's own)."""
        return tuple(p for p in self if p.cert is not None and p.name.kind.loaded)

    @cached_property
    def changed(self) -> tuple[datetime, ...]:
        """When each of these certificates came to be as it is."""
        return tuple(p.cert.file.changed for p in self.loaded if p.cert)

    @cached_property
    def material(self) -> str:
        """A digest of everything a server would load: changes exactly when a reload would change something."""
        return material_of({p.name.stem: p.cert.digest for p in self.loaded if p.cert})

    @cached_property
    def client_names(self) -> frozenset[str]:
        """The names of the CAs that cockroach accepts clients of: what its certificate request lists.

        `ca-client` or else `ca`, and also `ca-client-tenant` (pkg/security, getEmbeddedServerTLSConfig).
        """
        named = self.by_stem.get(CA_CLIENT.stem) or self.by_stem.get(CA.stem), self.by_stem.get(CA_TENANT.stem)
        return frozenset(c.subject_digest for b in named if b and b.cert for c in b.cert.certificates)

    @cached_property
    def cas(self) -> Mapping[str, str]:
        """The subject of each CA, by its spki."""
        files = (p.cert.certificates for p in self if p.cert)
        return {c.spki: c.subject for certificates in files for c in certificates if c.is_ca}

    @cached_property
    def ca_keys(self) -> Mapping[str, str]:
        """The keys of pairs that are a CA's, each with its subject."""
        keys = [p.key for p in self if p.key and not p.name.is_bundle]
        return {k.file.name: self.cas[k.spki] for k in keys if k.spki and k.spki in self.cas}

    @cached_property
    def bundled(self) -> frozenset[str]:
        """The fingerprints of the certificates of every bundle."""
        return frozenset(c.fingerprint for p in self if p.name.is_bundle and p.cert for c in p.cert.certificates)


def material_of(digests: Mapping[str, str]) -> str:
    """Given the digests of certificate files by stem, return the material that a server has which loads these."""
    return sha256("\n".join(sorted(f"{stem}={digest}" for stem, digest in digests.items())).encode()).hexdigest()
