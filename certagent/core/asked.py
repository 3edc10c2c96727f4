"""Whether a certificate is what was asked for: principal, names, URIs, type of key, usages. No time changes that."""

from collections.abc import Iterator
from functools import lru_cache

from certagent.core.catalogue import CERT_EKU, CERT_KEY, CERT_PRINCIPAL, CERT_SAN
from certagent.core.facts import Leaf, LoaderFlags
from certagent.core.findings import Finding
from certagent.core.hosts import host, hosts, hosts_of
from certagent.core.names import Name
from certagent.core.policy import Want
from certagent.core.principals import refused, tenants_of
from certagent.core.roles import Usage
from certagent.core.trust import allows

SERVER: Usage = "server"
CLIENT: Usage = "client"
WITHOUT_ROOT = "start every server without --disallow-root-login, or remove {0} (certificate, key, configuration)"


@lru_cache(maxsize=4096)
def differences(want: Want | None, name: Name, leaf: Leaf) -> tuple[Finding, ...]:
    """How a certificate differs from what is wanted, or from what every such one needs.

    They are found once for each certificate: every look at a directory that did not change asks again.
    """
    return (*_identity(want, name, leaf), *_usages(want, name, leaf))


def _identity(want: Want | None, name: Name, leaf: Leaf) -> Iterator[Finding]:
    if want is None:
        return
    file = f"{name.stem}.crt"
    for terms in want.terms or (LoaderFlags(),):
        tenants = tenants_of(want.uris)
        if problem := refused(want.name, want.principal, leaf, terms, split=not want.client, tenants=tenants):
            remedy = None if terms.root_login or want.principal != "root" else WITHOUT_ROOT.format(want.name.stem)
            yield CERT_PRINCIPAL.found(file, f"the certificate {problem}", remedy=remedy)
            break
    have = hosts_of(leaf)
    if missing := [n for n in want.names or () if host(n) not in have]:
        yield CERT_SAN.found(file, f"the certificate lacks the configured names {', '.join(missing)}")
    asked = hosts((*(want.names or ()), *([want.principal] if want.principal else [])))
    extra = sorted(text for found, text in have.items() if found not in asked)
    if want.drop_names and want.names is not None and extra:
        yield CERT_SAN.found(file, f"the certificate has names that are no longer configured: {', '.join(extra)}")
    yield from _uris(want, leaf, file)
    if other_key(want, leaf) and not want.reuse_key:
        yield CERT_KEY.found(file, f"the key is {leaf.key}, but {want.key} is configured")


def _uris(want: Want, leaf: Leaf, file: str) -> Iterator[Finding]:
    if want.uris is None:
        return
    if missing := [u for u in want.uris if u not in leaf.uris]:
        yield CERT_SAN.found(file, f"the certificate lacks the configured URIs {', '.join(missing)}")
    if extra := [u for u in leaf.scopes if u not in want.uris]:
        yield CERT_SAN.found(file, f"the certificate has crdb:// URIs that are not configured: {', '.join(extra)}")


def other_key(want: Want, leaf: Leaf) -> bool:
    """Whether the configuration asks for another type of key; the default asks for none."""
    return want.key_configured and leaf.key != want.key


def _usages(want: Want | None, name: Name, leaf: Leaf) -> Iterator[Finding]:
    """What the extended key usage lacks of what is wanted, or of what every such certificate needs."""
    usual = name.kind.verified_as
    server, client = (want.server, want.client) if want else ("server" in usual, "client" in usual)
    for needed, usage in ((server, SERVER), (client, CLIENT)):
        if needed and not allows(leaf, usage):
            message = f"the extended key usage lacks {usage}Auth: handshakes will fail"
            yield CERT_EKU.found(f"{name.stem}.crt", message)
