"""What servers, clients and other nodes make of files that load and verify: findings alone, for a person to act on.

Source: cockroach's flags (--allow-debug-user, --advertise-addr), its own HTTP clients, and Go's choice of a client
certificate: one whose chain leads to a name that the server asked for. A CA is asked for nothing because of them: its
answer would be no different.
"""

from collections.abc import Iterable, Iterator

from certagent.core.bundles import certificates
from certagent.core.catalogue import CA_UI_ALONE, CERT_ADDRESS, CERT_LOGIN, CERT_NONSTANDARD, CERT_PINNED
from certagent.core.decide.part import Part, saying
from certagent.core.facts import Leaf, LoaderFlags, Snapshot
from certagent.core.findings import Finding, Severity
from certagent.core.hosts import host as as_value
from certagent.core.names import CA_TENANT, CA_UI, CLIENT_DEBUG, CLIENT_NODE, NODE, UI, stem_of
from certagent.core.principals import loads_any_principal, refused_by_loader, refused_principal, tenants_of
from certagent.core.spelling import quoted
from certagent.core.trust import is_split
from certagent.core.view import View

DEBUG_USER = (25, 4)  # the first version that knows this user
CONSOLE = "set --advertise-http-addr to a name that the certificate has; other nodes show this node's pages by it"


def part(view: View) -> Part:
    """Every finding."""
    terms = view.policy.terms or (LoaderFlags(),)
    snapshot = view.snapshot
    by_terms = (*_debug_user(snapshot, terms), *_old_loader(snapshot, terms), *_addresses(view, terms))
    return saying((*by_terms, *_pinned(snapshot), *_ui_alone(snapshot)))


def _debug_user(snapshot: Snapshot, terms: tuple[LoaderFlags, ...]) -> Iterator[Finding]:
    pair = snapshot.pair(CLIENT_DEBUG.stem)
    barred = [t for t in terms if not t.debug_user and (t.release is None or t.release >= DEBUG_USER)]
    if pair is None or pair.leaf is None or not barred:
        return
    known = any(t.release for t in barred)
    who = "servers refuse" if known else "the version of cockroach is not known, and from 25.4 on servers refuse"
    yield CERT_LOGIN.found(f"{CLIENT_DEBUG.stem}.crt", f"{who} 'debug_user' without --allow-debug-user")


def _old_loader(snapshot: Snapshot, terms: tuple[LoaderFlags, ...]) -> Iterator[Finding]:
    """Files that only the loader of 24.1 and before refuses, where the version is not known.

    They are critical where a node of such a version would not start with them.
    """
    unknown = [t for t in terms if loads_any_principal(t) is None]
    apart = snapshot.pair(CLIENT_NODE.stem)
    split = apart is not None and apart.cert is not None
    for pair in (p for p in snapshot.pairs if p.leaf and not p.name.is_bundle):
        kind, leaf = pair.name.kind, pair.leaf
        user = kind.needed(pair.name.subject, split=split).principal
        doubts = [t for t in unknown if leaf and refused_by_loader(user, leaf, t)]
        if leaf is None or not doubts or refused_principal(pair.name, user, leaf, doubts[0], tenants_of(leaf.scopes)):
            continue
        why = refused_by_loader(user, leaf, doubts[0])
        severity: Severity = "critical" if kind.at_start else "warning"
        message = f"cockroach up to 24.1 refuses the file, and its version is not known: the certificate {why}"
        remedy = f"certagent check --release VERSION; for 24.1 and before have it issued for {quoted(user or '')}"
        yield CERT_NONSTANDARD.found(f"{pair.name.stem}.crt", message, severity, remedy)


def _addresses(view: View, terms: tuple[LoaderFlags, ...]) -> Iterator[Finding]:
    """Hosts that others are told to dial, and that the certificate does not name."""
    node, ui = view.pair(NODE.stem), view.pair(UI.stem)
    told = dict.fromkeys(host for t in terms for host in t.advertised)
    if node and node.leaf and (missing := _missing(node.leaf, told)):
        message = f"cockroach advertises {missing}, which the certificate does not name"
        yield _by_whom(view, CERT_ADDRESS.found(f"{NODE.stem}.crt", message, renews=True))
    console = ui if ui and ui.listed else node
    told = dict.fromkeys(t.advertised_http for t in terms if t.advertised_http and t.advertised_http not in told)
    if console and console.leaf and (missing := _missing(console.leaf, told)):
        message = f"cockroach advertises {missing} for the DB Console, which the certificate does not name"
        yield CERT_ADDRESS.found(f"{console.name.stem}.crt", message, "info", CONSOLE)


def _missing(leaf: Leaf, hosts: Iterable[str]) -> str:
    return ", ".join(host for host in hosts if not names(leaf, host))


def _by_whom(view: View, found: Finding) -> Finding:
    """`certagent renew` is the remedy only where an authority issues the pair."""
    want = view.want(stem_of(found.file))
    return found if want and want.issued_in(view.snapshot.directory) else found.by_others()


def names(leaf: Leaf, host: str) -> bool:
    """Whether a certificate is for that host, as Go sees it: a wildcard matches one whole label."""
    kind, wanted = as_value(host)
    if kind == "ip":
        return wanted in leaf.ips
    wanted = wanted.rstrip(".")
    allowed = {wanted, f"*.{wanted.partition('.')[2]}"}
    return any(name.lower().rstrip(".") in allowed for name in leaf.dns)


def _pinned(snapshot: Snapshot) -> Iterator[Finding]:
    """Certificates that are in a bundle themselves: they verify, and as a client's are never offered."""
    bundled = snapshot.live.bundled
    for pair in snapshot.pairs:
        kind, leaf = pair.name.kind, pair.leaf
        if leaf is None or leaf.fingerprint not in bundled or pair.name.is_bundle:
            continue
        split = is_split(snapshot.pairs, wanted=False)
        by = {v.bundle for v in kind.verifiers(snapshot.listed_bundles, split=split) if v.usage == "client"}
        asked_for = [ca for stem in (*by, CA_TENANT.stem) for ca in certificates(snapshot.pair(stem))]
        issuers = {certificate.issuer for certificate in (leaf, *pair.cert.chain)} if pair.cert else set()
        pinned = by and leaf.fingerprint in {ca.fingerprint for ca in asked_for}
        if pinned and not issuers & {ca.subject for ca in asked_for}:
            bundle = next(iter(by))
            message = f"{bundle}.crt contains this certificate but not its CA: it is never sent as a client certificate"
            yield CERT_PINNED.found(f"{pair.name.stem}.crt", message)


def _ui_alone(snapshot: Snapshot) -> Iterator[Finding]:
    """Without ui.crt the DB Console serves node.crt, which cockroach's own HTTP clients verify by ca-ui.crt."""
    bundle, ui, node = (snapshot.pair(name.stem) for name in (CA_UI, UI, NODE))
    if bundle is None or not bundle.listed or node is None or node.leaf is None or (ui is not None and ui.listed):
        return
    anchors = node.trust.anchors if node.trust else ()
    if {ca.spki for ca in certificates(bundle)}.isdisjoint(anchors):
        message = "there is no ui.crt, so cockroach's own HTTP clients verify node.crt by this bundle, and fail"
        yield CA_UI_ALONE.found(f"{CA_UI.stem}.crt", message)
