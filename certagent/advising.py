"""Asking every responder of every certificate of some certs-dirs, now: for `certagent advise ocsp`."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from certagent.core import advice
from certagent.core.policy import OcspRule, Policy
from certagent.host.certs import Scanner
from certagent.host.errors import HostError
from certagent.revoking import Revoking


def advise(directories: Sequence[tuple[str, OcspRule]]) -> dict[str, Any]:
    """Given certs-dirs and what each cluster's mode is, return the advice; HostError where one cannot be read."""
    found = [advice.directory(path, rule, _evidence(path, rule)) for path, rule in directories]
    return advice.document(found, datetime.now(UTC))


def _evidence(path: str, rule: OcspRule) -> list[advice.Evidence]:
    scan = Scanner().scan(path, datetime.now(UTC))
    if not scan.directory.exists or scan.directory.problem:
        raise HostError(f"cannot read {path}: {scan.directory.problem or 'it does not exist'}")
    leaves = {p.name.stem: p.leaf for p in scan.pairs if p.leaf and not p.name.is_bundle}
    marks = [(stem, leaf.fingerprint) for stem, leaf in leaves.items()]
    told = {r.fingerprint: r for r in Revoking(path, lambda: ()).ask(rule, marks, every=True)}
    return [
        advice.Evidence(f"{stem}.crt", leaf, told[leaf.fingerprint])
        for stem, leaf in leaves.items()
        if leaf.fingerprint in told
    ]


def chosen(policies: Sequence[Policy], certs_dir: str) -> list[tuple[str, OcspRule]]:
    """Given the managed directories and the one that was asked for ("": all), return what to look at.

    A directory that is not managed is looked at all the same, under the default rule.
    """
    if not certs_dir:
        return [(p.path, p.ocsp) for p in policies]
    path = os.path.abspath(certs_dir)
    return [(path, next((p.ocsp for p in policies if p.path == path), OcspRule()))]
