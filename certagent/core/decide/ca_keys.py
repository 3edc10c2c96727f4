"""Private keys of CAs under other names than that of a bundle: a user who can read one can issue any certificate."""

from collections.abc import Mapping

from certagent.core.catalogue import CA_KEY_PRESENT
from certagent.core.decide.part import Part, saying
from certagent.core.facts import Pair, Snapshot
from certagent.core.findings import Finding
from certagent.core.names import stem_of
from certagent.core.view import View

NAMED = ("ca.", "ca-")  # what the files of CAs are called


def part(view: View) -> Part:
    """A finding for each."""
    keys = of_cas(view.snapshot)
    pairs = {p.key.file.name: p for p in view.snapshot.pairs if p.key} if keys else {}
    return saying(_finding(name, subject, pairs.get(name)) for name, subject in keys.items())


def of_cas(snapshot: Snapshot) -> Mapping[str, str]:
    """The files that are keys of CAs, by name or by the certificates of the directory; with the CA's subject, or ""."""
    cas, loose = snapshot.live.cas, snapshot.loose_keys
    found = {k.file.name: cas.get(k.spki or "", "") for k in loose if k.spki in cas or k.file.name.startswith(NAMED)}
    return {**snapshot.live.ca_keys, **found}


def _finding(name: str, subject: str, pair: Pair | None) -> Finding:
    whose = f"the CA {subject}" if subject else "a CA, by its name"
    own = f"have {stem_of(name)}.crt issued with a key of its own" if pair and pair.matched else None
    return CA_KEY_PRESENT.found(name, f"this is the private key of {whose}; it does not belong on a node", remedy=own)
