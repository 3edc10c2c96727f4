"""One cause is one finding: what only follows from another finding is not said once more."""

from dataclasses import replace

from certagent.core.asked import WITHOUT_ROOT
from certagent.core.catalogue import (
    CA_MISSING,
    CERT_LOGIN,
    CERT_MISSING,
    CERT_PRINCIPAL,
    CERT_UNTRUSTED,
    LOGIN_REFUSED,
    RENEWAL_FAILING,
    RENEWAL_REFUSED,
)
from certagent.core.decide.ca_keys import of_cas
from certagent.core.findings import Finding
from certagent.core.names import stem_of
from certagent.core.view import View


def last(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """All findings without those that other questions found of the same cause.

    A server refuses the log-in of a user whose certificate its flags exclude, or is another user's. A certificate that
    no server would accept is not missing.
    """
    if not findings:
        return ()
    excluded = {f.file for f in findings if f.rule is CERT_LOGIN or f.remedy == WITHOUT_ROOT.format(stem_of(f.file))}
    refused = {f.file for f in findings if f.rule is RENEWAL_REFUSED} & excluded
    others = {f.file for f in findings if f.rule is CERT_PRINCIPAL}
    following = {LOGIN_REFUSED: excluded | others, CERT_MISSING: refused}
    failing = {f.file: f.code for f in findings if f.rule in {RENEWAL_FAILING, RENEWAL_REFUSED}}
    return tuple(_pointing(f, failing) for f in findings if f.file not in following.get(f.rule, ()))


def _pointing(found: Finding, failing: dict[str, str]) -> Finding:
    """A bundle that an authority was asked for in vain: what keeps it from coming is to be mended, not the bundle."""
    if found.rule is not CA_MISSING or found.file not in failing:
        return found
    remedy = f"see {failing[found.file]} of {found.file}: certagent creates the bundle once that is mended"
    return replace(found, remedy=remedy)


def by_cause(view: View, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings about files without those that follow from others.

    A bundle that is missing or cannot be used, or whose certificates do not count, is one finding, not one more for
    each certificate that it would verify. A key that is a CA's lacks no certificate.
    """
    unusable = {stem_of(f.file) for f in findings if f.rule is CA_MISSING}
    bundles = [p for p in view.snapshot.pairs if p.name.is_bundle and p.cert]
    unusable |= {p.name.stem for p in bundles if p.cert and not (p.leaf and p.cert.pooled)}
    verified = {p.name.stem for p in view.snapshot.pairs if p.trust and p.trust.bundle in unusable}
    keys = {stem_of(name) for name in of_cas(view.snapshot)} - {want.name.stem for want in view.policy.wants}
    following = {CERT_UNTRUSTED: verified, CERT_MISSING: keys}
    return tuple(f for f in findings if stem_of(f.file) not in following.get(f.rule, ()))
