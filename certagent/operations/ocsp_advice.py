"""Ask every responder of every certificate of some certs-dirs now, for `certagent advise ocsp`."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from certagent.certs_dir import Scan, Scanner
from certagent.core import advice
from certagent.core.facts import Leaf, Revocation
from certagent.core.policy import OcspRule, Policy
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.revocation.checker import Revoking


def advise(directories: Sequence[tuple[str, OcspRule]], *, allow_private: bool = False) -> dict[str, Any]:
    """Given certs-dirs and what each cluster's mode is, return the advice; HostError where one cannot be read.

    `allow_private`: addresses that are not public may be asked, whatever the configuration says.
    """
    directories = [
        (path, replace(rule, allow_private=rule.allow_private or allow_private)) for path, rule in directories
    ]
    found = [advice.directory(path, rule, _ask(path, rule, clock())) for path, rule in directories]
    return advice.document(found, clock())


def _ask(path: str, rule: OcspRule, now: datetime) -> list[advice.Evidence]:
    leaves = leaves_of(path, Scanner().scan(path, now))
    marks = [(stem, leaf.fingerprint) for stem, leaf in leaves.items()]
    return evidence(leaves, Revoking(path, lambda: ()).ask(rule, marks, now, every=True))


def leaves_of(path: str, scan: Scan) -> dict[str, Leaf]:
    """Given a scan of a certs-dir, return the leaves by their stems; HostError if it cannot be read."""
    if not scan.directory.exists or scan.directory.problem:
        raise HostError(f"cannot read {path}: {scan.directory.problem or 'it does not exist'}")
    return {p.name.stem: p.leaf for p in scan.pairs if p.leaf and not p.name.is_bundle}


def evidence(leaves: Mapping[str, Leaf], told: Iterable[Revocation]) -> list[advice.Evidence]:
    """Given the leaves and the answers about them, return the evidence; a leaf that no longer exists is left out."""
    known = {r.fingerprint: r for r in told}
    return [
        advice.Evidence(f"{stem}.crt", leaf, known[leaf.fingerprint])
        for stem, leaf in leaves.items()
        if leaf.fingerprint in known
    ]


def chosen(policies: Sequence[Policy], certs_dir: str) -> list[tuple[str, OcspRule]]:
    """Given the managed directories and the one that was asked for ("": all), return the ones to check.

    A directory that is not managed is examined too, by the default rule.
    """
    if not certs_dir:
        return [(p.path, p.ocsp) for p in policies]
    path = os.path.abspath(certs_dir)
    return [(path, next((p.ocsp for p in policies if p.path == path), OcspRule()))]
