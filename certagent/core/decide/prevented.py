"""What the agent would create or renew, were it allowed to change the directory: a consequence of `dir.foreign`.

The cause comes first, and as severe as what it causes. What is missing because of it is named in its message, and not
said once more; what else a renewal would remedy has the remedy of the cause.
"""

from dataclasses import replace

from certagent.core.catalogue import DIR_FOREIGN
from certagent.core.facts import ObserveOnly
from certagent.core.findings import SEVERITIES, Finding
from certagent.core.mending import MENDED
from certagent.core.names import stem_of
from certagent.core.view import View


def below_cause(view: View, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Given all findings, return them with what follows from a directory that may not be changed below that."""
    only = view.snapshot.directory.observe_only
    if only is None or not only.why.prevents:
        return findings
    ours = tuple(f for f in findings if _issued(view, f))
    missing = tuple(sorted({f.file for f in ours if f.rule in MENDED}))
    if not ours:
        return findings
    kept = (f for f in findings if not (f in ours and f.rule in MENDED))
    return tuple(_told(f, only, ours, missing) for f in kept)


def _issued(view: View, found: Finding) -> bool:
    """Whether the agent would remedy it by a file that it requests or creates."""
    want = view.want(stem_of(found.file))
    return want is not None and bool(want.authorities) and (found.rule in MENDED or bool(found.cure))


def _told(found: Finding, only: ObserveOnly, ours: tuple[Finding, ...], missing: tuple[str, ...]) -> Finding:
    if found in ours:
        return replace(found, remedy=f"{only.remedy}; certagent then renews it", cure="")
    if found.rule is not DIR_FOREIGN:
        return found
    worst = max((found, *ours), key=lambda f: SEVERITIES.index(f.severity)).severity
    message = f"{found.message}; therefore certagent does not create {', '.join(missing)}" if missing else found.message
    return replace(found, severity=worst, message=message)
