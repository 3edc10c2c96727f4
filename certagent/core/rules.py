"""cockroach's rules about one file or pair: facts -> findings, each with code, severity, sentence and remedy.

The same rules judge what is live and what is staged. Sources: how cockroach loads a certs-dir (what it
refuses), and what Go's verifier refuses at the next handshake (what cockroach would not say).
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from shlex import quote

from certagent.core.asked import differences
from certagent.core.bundles import replacing
from certagent.core.catalogue import (
    CA_EXPIRED,
    CA_EXPIRES_SOON,
    CA_KEY_PRESENT,
    CA_MISSING,
    CA_NOT_A_CA,
    CERT_EMPTY,
    CERT_EXPIRED,
    CERT_EXPIRES_SOON,
    CERT_IRREGULAR,
    CERT_MISSING,
    CERT_NONSTANDARD,
    CERT_NOT_YET_VALID,
    CERT_OUTLIVES_CA,
    CERT_UNPARSABLE,
    CERT_UNREAD,
    CERT_UNTRUSTED,
    CERT_WEAK,
    KEY_IRREGULAR,
    KEY_MISMATCH,
    KEY_MISSING,
    KEY_MODE,
    KEY_OWNER,
    KEY_UNPARSABLE,
)
from certagent.core.facts import CertFile, File, Leaf, LoaderFlags, Pair, Staged
from certagent.core.findings import Finding, Is, Severity
from certagent.core.names import Name, parse, stem_of
from certagent.core.policy import Owner, Want
from certagent.core.remaining import lifetime_problem
from certagent.core.scopes import widening
from certagent.core.spans import stamp
from certagent.core.strength import weakness
from certagent.core.timing import expires_soon

UNREAD = {  # by CertFile.problem_kind
    "empty": CERT_EMPTY,
    "unparsable": CERT_UNPARSABLE,
    "unread": CERT_UNREAD,
    "irregular": CERT_IRREGULAR,
    "unreadable": CERT_IRREGULAR,
}
KEY_UNREAD = {"unparsable": KEY_UNPARSABLE, "irregular": KEY_IRREGULAR, "unreadable": KEY_IRREGULAR}
PERMISSIONS = 0o777  # setuid, setgid and sticky do not count
OWNER_LIMIT, ROOT_GROUP_LIMIT = 0o700, 0o740
IN_PLACE = "move the directory away"
UNPOOLED = "each of its certificates has PEM headers, and such blocks do not count"


def key_mode_accepted(file: File, gid: int) -> bool:
    """Cockroach's rule: no group or other bits at all; or root's own with the process's group, within 0740."""
    limit = ROOT_GROUP_LIMIT if file.uid == 0 and file.gid == gid else OWNER_LIMIT
    return file.mode & PERMISSIONS & ~limit == 0


def key_file(file: File, owner: Owner, terms: tuple[LoaderFlags, ...] = (), *, path: str) -> Iterator[Finding]:
    """What is wrong with the mode and the owner of a key; `ca.key` is never loaded, but its mode still matters.

    `path`: the directory, for remedies that work anywhere.
    """
    if file.kind != "file":
        return
    if not key_mode_accepted(file, owner.gid):
        name = parse(stem_of(file.name))
        loaded = isinstance(name, Name) and not name.is_bundle
        skipped = bool(terms) and all(t.skip_key_check for t in terms)
        why = "cockroach refuses a key that others may read" if loaded else "others may read it"
        if loaded and skipped:
            why = "others may read it, and cockroach does not check (COCKROACH_SKIP_KEY_PERMISSION_CHECK)"
        severity: Severity = "warning" if loaded and skipped else "critical"
        message, remedy = f"the mode is {file.mode:04o}: {why}", f"chmod 0600 {quote(f'{path}/{file.name}')}"
        yield KEY_MODE.found(file.name, message, severity, remedy)
    if file.uid != owner.uid and not (file.uid == 0 and file.gid == owner.gid and file.mode & 0o040):
        message = f"the key is owned by uid {file.uid}, not by {owner.user}"
        yield KEY_OWNER.found(
            file.name, message, remedy=f"chown {owner.uid}:{owner.gid} {quote(f'{path}/{file.name}')}"
        )


def pair_findings(want: Want | None, pair: Pair, now: datetime) -> Iterator[Finding]:
    """Given one pair (or bundle) and what is wanted of it, yield everything that is wrong, most basic first."""
    stem = pair.name.stem
    if pair.name.is_bundle:
        yield from _bundle(want, pair, now)
        return
    if pair.cert is None:
        remedy = None if want and want.authorities else f"copy {stem}.crt there"
        yield CERT_MISSING.found(f"{stem}.crt", f"{stem}.crt is missing", remedy=remedy)
    elif pair.cert.leaf is None:
        yield _unread(pair.cert, f"{stem}.crt")
    else:
        yield from _leaf(want, pair, pair.cert.leaf, now)
    yield from _key(pair)


def _unread(cert: CertFile, file: str, remedy: str | None = None) -> Finding:
    if cert.file.kind == "directory":
        remedy = IN_PLACE
    return UNREAD[cert.problem_kind or "unparsable"].found(file, cert.problem or "cannot be read", remedy=remedy)


def _key(pair: Pair) -> Iterator[Finding]:
    file, key = f"{pair.name.stem}.key", pair.key
    if key is None and pair.cert is None:
        return  # cert.missing says it: there is nothing that a key would be missing from
    if key is None:
        yield KEY_MISSING.found(file, f"{file} is missing: cockroach refuses the certificate")
    elif key.spki is None:
        remedy = IN_PLACE if key.file.kind == "directory" else None  # no rename replaces it
        yield KEY_UNREAD[key.problem_kind or "unparsable"].found(file, key.problem or "cannot be read", remedy=remedy)
    elif pair.leaf is not None and not pair.matched:
        message = f"{file} does not match {pair.name.stem}.crt: after a reload every new connection would fail"
        yield KEY_MISMATCH.found(file, message)


def _leaf(want: Want | None, pair: Pair, leaf: Leaf, now: datetime) -> Iterator[Finding]:
    yield from _validity(want, pair, leaf, now)
    yield from differences(want, pair.name, leaf)
    file = f"{pair.name.stem}.crt"
    if pair.trust and pair.trust.problem:
        message = f"the certificate is not trusted by {pair.trust.bundle}.crt: {pair.trust.problem}"
        yield CERT_UNTRUSTED.found(file, message, remedy=_remedy(pair, now))
    yield from _caveats(pair, file)
    if weak := weakness(leaf):
        grade, sentence = weak
        yield CERT_WEAK.found(file, sentence, grade)


def _remedy(pair: Pair, now: datetime) -> str | None:
    """What helps where a date of the chain is the cause: no root that is added to a bundle does."""
    if pair.trust and pair.trust.ends and pair.trust.ends <= now:
        return CERT_OUTLIVES_CA.advice
    early = any(ca.not_before > now for ca in (pair.cert.chain if pair.cert else ()))
    return CERT_NOT_YET_VALID.remedy if early else None


def _caveats(pair: Pair, file: str) -> Iterator[Finding]:
    if pair.cert and pair.cert.caveat:
        yield CERT_NONSTANDARD.found(file, pair.cert.caveat)
    if pair.cert and pair.cert.unread:
        yield CERT_UNREAD.found(file, pair.cert.unread)


def _validity(want: Want | None, pair: Pair, leaf: Leaf, now: datetime) -> Iterator[Finding]:
    file = f"{pair.name.stem}.crt"
    if now >= leaf.not_after:
        yield CERT_EXPIRED.found(file, f"the certificate expired at {stamp(leaf.not_after)}")
    elif now < leaf.not_before:
        yield CERT_NOT_YET_VALID.found(file, f"the certificate is not valid before {stamp(leaf.not_before)}")
    elif (effective := pair.effective or leaf).not_after <= now:
        return  # cert.untrusted names the CA that ended
    elif soon := expires_soon(effective, want, now):
        yield CERT_EXPIRES_SOON.found(file, _end_of(pair, effective), soon)
    elif pair.ends_by:
        message = f"the certificate is valid until {stamp(leaf.not_after)}, but {_end_of(pair, effective)}"
        yield CERT_OUTLIVES_CA.found(file, message)


def _end_of(pair: Pair, effective: Leaf) -> str:
    """When it ends, and with which CA where that is not its own end."""
    return f"{f'its CA {pair.ends_by}' if pair.ends_by else 'the certificate'} expires at {stamp(effective.not_after)}"


def _bundle(want: Want | None, pair: Pair, now: datetime) -> Iterator[Finding]:
    file = f"{pair.name.stem}.crt"
    if pair.key is not None:
        yield CA_KEY_PRESENT.found(f"{pair.name.stem}.key", "the CA's private key does not belong on a node")
    if pair.cert is None and pair.key is not None and want is None:
        return
    if pair.cert is None:
        yield CA_MISSING.found(file, f"{file} is missing: no certificate can be verified")
        return
    if pair.cert.leaf is None:
        yield _unread(pair.cert, file, None if pair.cert.problem_kind == "unread" else "restore the trust bundle")
        return
    if not pair.cert.pooled:
        yield CERT_UNPARSABLE.found(file, f"{UNPOOLED}: there is no CA to verify by", remedy="remove the header lines")
    for ca in pair.cert.certificates:
        if not ca.is_ca:
            yield CA_NOT_A_CA.found(file, f"{ca.subject} is not a CA certificate: it verifies only itself")
    yield from _bundle_validity(file, pair.cert.certificates, now)
    yield from _caveats(pair, file)


def _bundle_validity(file: str, cas: tuple[Leaf, ...], now: datetime) -> Iterator[Finding]:
    valid = [ca for ca in cas if ca.not_before <= now < ca.not_after]
    for ca in cas:
        if now >= ca.not_after:
            severity: Severity = "warning" if valid else "critical"
            remedy = None if valid else CA_EXPIRES_SOON.advice
            yield CA_EXPIRED.found(file, f"{ca.subject} expired at {stamp(ca.not_after)}", severity, remedy)
        elif soon := expires_soon(ca, None, now):
            yield CA_EXPIRES_SOON.found(file, f"{ca.subject} expires at {stamp(ca.not_after)}", soon)


def refusal(
    want: Want, staged: Staged, live: Pair | None, asked: bool, now: datetime, limits: tuple[str, ...] = ()
) -> str | None:
    """The pre-install checks: given what was read back from the staging area, return why it is refused, or None.

    `asked`: the change was asked for (a new name, an operator's renew, a broken or revoked live pair), so a
    NotAfter need not be later. `limits`: the `crdb://` URIs that the pair is limited to.
    """
    if want.name.is_bundle:
        return _bundle_problem(staged, live, now)
    judged = replace(want, drop_names=False) if staged.asked else want  # the CA added the other names
    wrong = [f for f in pair_findings(judged, staged.pair, now) if Is.TOLERATED not in f.rule.flags]
    if wrong:
        return wrong[0].message
    leaf = staged.pair.leaf
    if leaf is None or leaf.is_ca:
        return "the certificate is a CA certificate" if leaf else "there is no certificate"
    if staged.handshake:
        return f"a handshake with the new certificate fails: {staged.handshake}"
    if problem := widening(limits, leaf):
        return problem
    return lifetime_problem(want, staged, leaf, live, asked, now)


def _bundle_problem(staged: Staged, live: Pair | None, now: datetime) -> str | None:
    if staged.breaks:
        return f"live certificates would no longer verify: {', '.join(staged.breaks)}"
    if problem := replacing(staged, live):
        return problem
    cas = staged.pair.cert.certificates if staged.pair.cert else ()
    if not any(ca.is_ca and ca.not_before <= now < ca.not_after for ca in cas):
        return "the new bundle contains no valid CA certificate"
    return (staged.pair.cert.caveat if staged.pair.cert else "") or None
