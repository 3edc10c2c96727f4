"""What servers, clients and other nodes make of files that load and verify: findings alone, for a person to act on.

Source: cockroach's flags (--allow-debug-user, --advertise-addr), its own HTTP clients, and Go's choice of a client
certificate: one whose chain leads to a name that the server asked for. A CA is asked for nothing because of them: its
answer would be no different.
"""

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address

from certagent.core.catalogue import CA_UI_ALONE, CERT_ADDRESS, CERT_LOGIN, CERT_PINNED
from certagent.core.decide.part import Part
from certagent.core.facts import Leaf, LoaderFlags, Pair, Snapshot
from certagent.core.findings import Finding, Severity
from certagent.core.names import CA_TENANT, CA_UI, CLIENT_DEBUG, NODE, UI
from certagent.core.trust import is_split
from certagent.core.view import View

DEBUG_USER = (25, 4)  # the first version that knows this user


def part(view: View) -> Part:
    """Every finding."""
    terms = view.policy.terms or (LoaderFlags(),)
    snapshot = view.snapshot
    found = (*_debug_user(snapshot, terms), *_addresses(snapshot, terms), *_pinned(snapshot), *_ui_alone(snapshot))
    return Part(findings=found)


def _debug_user(snapshot: Snapshot, terms: tuple[LoaderFlags, ...]) -> Iterator[Finding]:
    pair = snapshot.pair(CLIENT_DEBUG.stem)
    barred = [t for t in terms if not t.debug_user and (t.release is None or t.release >= DEBUG_USER)]
    if pair is None or pair.leaf is None or not barred:
        return
    known = any(t.release for t in barred)
    severity: Severity = "critical" if known else "warning"
    who = "servers refuse" if known else "from 25.4 on servers refuse"
    yield CERT_LOGIN.found(f"{CLIENT_DEBUG.stem}.crt", f"{who} 'debug_user' without --allow-debug-user", severity)


def _addresses(snapshot: Snapshot, terms: tuple[LoaderFlags, ...]) -> Iterator[Finding]:
    """Hosts that others are told to dial, and that the certificate does not name."""
    node = snapshot.pair(NODE.stem)
    told = dict.fromkeys(host for t in terms for host in t.advertised)
    if node is None or node.leaf is None:
        return
    leaf = node.leaf
    if missing := [host for host in told if not names(leaf, host)]:
        message = f"cockroach advertises {', '.join(missing)}, which the certificate does not name"
        yield CERT_ADDRESS.found(f"{NODE.stem}.crt", message)


def names(leaf: Leaf, host: str) -> bool:
    """Whether a certificate is for that host, as Go sees it: a wildcard matches one whole label."""
    with suppress(ValueError):
        return str(ip_address(host)) in leaf.ips
    wanted = host.lower().rstrip(".")
    allowed = {wanted, f"*.{wanted.partition('.')[2]}"}
    return any(name.lower().rstrip(".") in allowed for name in leaf.dns)


def _pinned(snapshot: Snapshot) -> Iterator[Finding]:
    """Certificates that are in a bundle themselves: they verify, and as a client's are never offered."""
    split = is_split(snapshot.pairs, wanted=False)
    for pair in snapshot.pairs:
        kind, leaf = pair.name.kind, pair.leaf
        by = {v.bundle for v in kind.verifiers(snapshot.listed_bundles, split=split) if v.usage == "client"}
        if leaf is None or not by:
            continue
        asked_for = [ca for stem in (*by, CA_TENANT.stem) for ca in _certificates(snapshot.pair(stem))]
        issuers = {certificate.issuer for certificate in (leaf, *pair.cert.chain)} if pair.cert else set()
        pinned = leaf.fingerprint in {ca.fingerprint for ca in asked_for}
        if pinned and not issuers & {ca.subject for ca in asked_for}:
            bundle = next(iter(by))
            message = f"{bundle}.crt contains this certificate but not its CA: it is never sent as a client certificate"
            yield CERT_PINNED.found(f"{pair.name.stem}.crt", message)


def _certificates(bundle: Pair | None) -> tuple[Leaf, ...]:
    return bundle.cert.certificates if bundle and bundle.cert else ()


def _ui_alone(snapshot: Snapshot) -> Iterator[Finding]:
    """Without ui.crt the DB Console serves node.crt, which cockroach's own HTTP clients verify by ca-ui.crt."""
    bundle, ui, node = (snapshot.pair(name.stem) for name in (CA_UI, UI, NODE))
    if bundle is None or not bundle.listed or node is None or node.leaf is None or (ui is not None and ui.listed):
        return
    anchors = node.trust.anchors if node.trust else ()
    if {ca.spki for ca in _certificates(bundle)}.isdisjoint(anchors):
        message = "there is no ui.crt, so cockroach's own HTTP clients verify node.crt by this bundle, and fail"
        yield CA_UI_ALONE.found(f"{CA_UI.stem}.crt", message)
