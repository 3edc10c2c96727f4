"""What the agent is about to mend itself: what is missing only for a moment is no error in the log."""

from certagent.core.actions import Install, Issue, subject_of
from certagent.core.catalogue import CA_MISSING, CERT_MISSING, KEY_MISSING
from certagent.core.findings import Finding
from certagent.core.names import stem_of
from certagent.core.view import Planned

MENDED = frozenset({CA_MISSING, CERT_MISSING, KEY_MISSING})  # as they all are on the first day


def mending(found: Finding, planned: Planned) -> bool:
    """Whether a file is missing that is being requested or installed, or that waits only for its trust bundle.

    Nothing was tried in vain for it yet: after one failure a person has to know.
    """
    stem = stem_of(found.file)
    want = planned.policy.want(stem)
    if found.rule not in MENDED or want is None or not want.issued_in(planned.snapshot.directory):
        return False
    needed = (stem, *planned.policy.bundles)
    tried = [attempt for each in needed for attempt in planned.snapshot.history.failures(each)]
    failed = any(attempt.outcome in {"failed", "refused"} for attempt in tried)
    return not failed and any(_under_way(planned, each) for each in needed)


def _under_way(planned: Planned, stem: str) -> bool:
    """Whether it is requested, staged, or about to be."""
    planning = any(isinstance(a, Issue | Install) and subject_of(a) == stem for a in planned.plan.actions)
    running = any(job.kind == "issue" and job.subject == stem for job in planned.snapshot.in_flight)
    return planning or running or any(s.pair.name.stem == stem for s in planned.snapshot.staged)
