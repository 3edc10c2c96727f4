"""cockroach's rules about one file or pair: facts -> findings, each with code, severity, sentence and remedy.

The same rules judge what is live and what is staged. Sources: how cockroach loads a certs-dir (what it
refuses), and what Go's verifier refuses at the next handshake (what cockroach would not say).
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from certagent.core.actions import Finding
from certagent.core.facts import File, Leaf, LoaderFlags, Pair, Staged
from certagent.core.names import CA, Name, parse, stem_of
from certagent.core.policy import Owner, Want
from certagent.core.principals import refused_principal, refused_subject
from certagent.core.strength import weakness
from certagent.core.timing import expires_soon, lifetime

Severity = Literal["ok", "info", "warning", "critical"]
UNUSABLE = frozenset(
    {
        "cert.missing",
        "cert.empty",
        "cert.unparsable",
        "cert.irregular",
        "cert.expired",
        "key.missing",
        "key.unparsable",
        "key.mismatch",
        "key.irregular",
    }
)
DIFFERENT = frozenset({"cert.san", "cert.principal", "cert.eku", "cert.weak", "cert.untrusted", "cert.key"})
TOO_WIDE = 0o077
ROOT_GROUP_LIMIT = 0o740


def key_mode_accepted(file: File, gid: int) -> bool:
    """Cockroach's rule: no group or other bits at all; or root's own with the process's group, within 0740."""
    if file.mode & TOO_WIDE == 0:
        return True
    return file.uid == 0 and file.gid == gid and file.mode & ~ROOT_GROUP_LIMIT == 0


def key_file(file: File, owner: Owner, terms: tuple[LoaderFlags, ...] = (), *, path: str) -> Iterator[Finding]:
    """What is wrong with the mode and the owner of a key; `ca.key` is never loaded, its mode matters all the same.

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
            why = "others may read it, and cockroach was told not to look (COCKROACH_SKIP_KEY_PERMISSION_CHECK)"
        yield Finding(
            "key.mode",
            "warning" if loaded and skipped else "critical",
            file.name,
            f"mode is {file.mode:04o}: {why}",
            f"chmod 0600 {path}/{file.name}",
        )
    if file.uid != owner.uid and not (file.uid == 0 and file.gid == owner.gid and file.mode & 0o040):
        yield Finding(
            "key.owner",
            "critical",
            file.name,
            f"owned by uid {file.uid}, not by {owner.user}",
            f"chown {owner.uid}:{owner.gid} {path}/{file.name}",
        )


def pair_findings(want: Want | None, pair: Pair, now: datetime) -> Iterator[Finding]:
    """Given one pair (or bundle) and what is wanted of it, yield everything that is wrong, most basic first."""
    stem = pair.name.stem
    if pair.name.is_bundle:
        yield from _bundle(pair, now)
        return
    if pair.cert is None:
        remedy = f"certagent renew {stem}" if want and want.authorities else f"put {stem}.crt there"
        yield Finding("cert.missing", "critical", f"{stem}.crt", f"{stem}.crt is missing", remedy)
    elif pair.cert.leaf is None:
        yield Finding(
            f"cert.{pair.cert.problem_kind}",
            "critical",
            f"{stem}.crt",
            pair.cert.problem or "cannot be read",
            f"certagent renew {stem}",
        )
    else:
        yield from _leaf(want, pair, pair.cert.leaf, now)
    yield from _key(pair)


def _key(pair: Pair) -> Iterator[Finding]:
    file, key = f"{pair.name.stem}.key", pair.key
    if key is None and pair.cert is None:
        return  # cert.missing says it: there is nothing that a key would be missing from
    if key is None:
        yield Finding(
            "key.missing",
            "critical",
            file,
            f"{file} is missing: cockroach refuses the certificate",
            f"certagent renew {pair.name.stem}",
        )
    elif key.spki is None:
        yield Finding(
            f"key.{key.problem_kind or 'unparsable'}",
            "critical",
            file,
            key.problem or "cannot be read",
            f"certagent renew {pair.name.stem}",
        )
    elif pair.leaf is not None and not pair.matched:
        message = f"{file} does not belong to {pair.name.stem}.crt: after a reload every new connection would fail"
        yield Finding(
            "key.mismatch", "critical", file, message, "certagent recover, or certagent renew " + pair.name.stem
        )


def _leaf(want: Want | None, pair: Pair, leaf: Leaf, now: datetime) -> Iterator[Finding]:
    yield from _validity(want, pair, leaf, now)
    yield from _identity(want, pair, leaf)
    file = f"{pair.name.stem}.crt"
    if pair.trust and pair.trust.problem:
        yield Finding(
            "cert.untrusted",
            "critical",
            file,
            f"not trusted by {pair.trust.bundle}.crt: {pair.trust.problem}",
            "certagent explain cert.untrusted",
        )
    if weak := weakness(leaf):
        grade, sentence = weak
        yield Finding("cert.weak", grade, file, sentence, f"certagent renew {pair.name.stem}")


def _validity(want: Want | None, pair: Pair, leaf: Leaf, now: datetime) -> Iterator[Finding]:
    file, renew = f"{pair.name.stem}.crt", f"certagent renew {pair.name.stem}"
    if now >= leaf.not_after:
        yield Finding("cert.expired", "critical", file, f"expired at {stamp(leaf.not_after)}", renew)
    elif now < leaf.not_before:
        yield Finding(
            "cert.not-yet-valid",
            "critical",
            file,
            f"not valid before {stamp(leaf.not_before)}",
            "check the clock of this host and of the CA",
        )
    elif soon := expires_soon(leaf, want, now):
        severity: Severity = "critical" if soon == "critical" else "warning"
        yield Finding("cert.expires-soon", severity, file, f"expires at {stamp(leaf.not_after)}", renew)


def _identity(want: Want | None, pair: Pair, leaf: Leaf) -> Iterator[Finding]:
    if want is None:
        return
    file, renew = f"{pair.name.stem}.crt", f"certagent renew {pair.name.stem}"
    for terms in want.terms or (LoaderFlags(),):
        problem = refused_principal(want.name, want.principal, leaf, terms)
        problem = problem or refused_subject(want.name, want.principal, leaf, terms)
        if problem:
            yield Finding("cert.principal", "critical", file, problem, renew)
            break
    have = set(leaf.dns) | set(leaf.ips)
    if missing := [n for n in want.names or () if n not in have]:
        yield Finding("cert.san", "warning", file, f"lacks the configured names {', '.join(missing)}", renew)
    if want.drop_names and want.names is not None and (extra := sorted(have - set(want.names) - {want.principal})):
        yield Finding(
            "cert.san", "warning", file, f"has names that are no longer configured: {', '.join(extra)}", renew
        )
    for flag, usage in ((want.server, "serverAuth"), (want.client, "clientAuth")):
        if flag and leaf.eku is not None and usage not in leaf.eku and "any" not in leaf.eku:
            yield Finding(
                "cert.eku", "critical", file, f"extended key usage lacks {usage}: handshakes will fail", renew
            )


def _bundle(pair: Pair, now: datetime) -> Iterator[Finding]:
    file = f"{pair.name.stem}.crt"
    if pair.cert is None:
        yield Finding(
            "ca.missing",
            "critical",
            file,
            f"{file} is missing: nothing can be verified",
            "put the trust bundle there; certagent plan says what is known of it",
        )
        return
    if pair.cert.leaf is None:
        yield Finding(
            f"cert.{pair.cert.problem_kind}",
            "critical",
            file,
            pair.cert.problem or "cannot be read",
            "put the trust bundle back",
        )
        return
    for ca in pair.cert.certificates:
        if not ca.is_ca:
            yield Finding(
                "ca.not-a-ca",
                "warning",
                file,
                f"{ca.subject} is not a CA certificate: it verifies nothing but itself",
                "remove it from the bundle",
            )
    yield from _bundle_validity(file, pair.cert.certificates, now)
    if pair.name == CA and pair.key is not None:
        yield Finding(
            "ca.key-present",
            "warning",
            "ca.key",
            "the CA's private key does not belong on a node",
            "move it to the host that issues certificates",
        )


def _bundle_validity(file: str, cas: tuple[Leaf, ...], now: datetime) -> Iterator[Finding]:
    valid = [ca for ca in cas if ca.not_before <= now < ca.not_after]
    for ca in cas:
        if now >= ca.not_after:
            severity: Severity = "warning" if valid else "critical"
            yield Finding(
                "ca.expired",
                severity,
                file,
                f"{ca.subject} expired at {stamp(ca.not_after)}",
                "remove it once nothing chains to it",
            )
        elif soon := expires_soon(ca, None, now):
            yield Finding(
                "ca.expires-soon",
                "critical" if soon == "critical" else "warning",
                file,
                f"{ca.subject} expires at {stamp(ca.not_after)}",
                "plan a CA rotation: bundle first, leaves later",
            )


def gate(want: Want, staged: Staged, live: Pair | None, asked: bool, now: datetime) -> str | None:
    """Given what was read back from the staging area, return why it must not be installed, or None.

    `asked`: the change was asked for (a new name, an operator's renew, a broken or revoked live pair), so a
    NotAfter that is not later is no obstacle.
    """
    if want.name.is_bundle:
        return _bundle_gate(staged, live, now)
    judged = replace(want, drop_names=False) if staged.asked else want  # names beside those asked for: the CA's doing
    wrong = [f for f in pair_findings(judged, staged.pair, now) if f.code != "cert.expires-soon"]
    if wrong:
        return wrong[0].message
    leaf = staged.pair.leaf
    if leaf is None or leaf.is_ca:
        return "the certificate is a CA certificate" if leaf else "there is no certificate"
    if staged.handshake:
        return f"a handshake with it fails: {staged.handshake}"
    return _lifetime_gate(want, staged, leaf, live.leaf if live else None, asked, now)


def _lifetime_gate(want: Want, staged: Staged, leaf: Leaf, live: Leaf | None, asked: bool, now: datetime) -> str | None:
    least = want.minimum if want.minimum is not None else min((want.lifetime or lifetime(leaf)) / 4, timedelta(days=1))
    if leaf.not_after - now < least:
        return f"only {leaf.not_after - now} of it is left, under the minimum of {least}"
    if live is not None and live.not_after >= leaf.not_after and not (asked and staged.asked):
        return f"it expires no later ({stamp(leaf.not_after)}) than the live one ({stamp(live.not_after)})"
    return None


def _bundle_gate(staged: Staged, live: Pair | None, now: datetime) -> str | None:
    if staged.breaks:
        return f"live certificates would stop verifying by it: {', '.join(staged.breaks)}"
    if live is not None and live.cert is not None:
        return "a trust bundle that exists is never replaced as a side effect"
    cas = staged.pair.cert.certificates if staged.pair.cert else ()
    if not any(ca.is_ca and ca.not_before <= now < ca.not_after for ca in cas):
        return "it holds no valid CA certificate"
    return None


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
