"""Facts: what was observed of one certs-dir and its processes, as frozen values.

A fact says what is, never what to do about it. Times are aware datetimes in UTC. Digests and fingerprints are
lower-case hex SHA-256. A fact that could not be established carries a `problem`, one sentence, instead of raising.
"""

from certagent.core.facts.certificates import (
    CertFile,
    File,
    FileKind,
    Generation,
    KeyFile,
    Leaf,
    Loaded,
    Pair,
    Staged,
    Trust,
)
from certagent.core.facts.directory import Directory, ObserveOnly, Why
from certagent.core.facts.history import History, counted
from certagent.core.facts.members import Look, Members, Word
from certagent.core.facts.pairs import Pairs
from certagent.core.facts.processes import Listener, LoaderFlags, PassedOver, Place, Process, Served
from certagent.core.facts.records import Adopted, Attempt, Authority, Clock, Exposure, InFlight, Repair, Request, Window
from certagent.core.facts.revocation import Answer, Checked, Revocation
from certagent.core.facts.snapshot import Snapshot

__all__ = [
    "Adopted",
    "Answer",
    "Attempt",
    "Authority",
    "CertFile",
    "Checked",
    "Clock",
    "Directory",
    "Exposure",
    "File",
    "FileKind",
    "Generation",
    "History",
    "InFlight",
    "KeyFile",
    "Leaf",
    "Listener",
    "Loaded",
    "LoaderFlags",
    "Look",
    "Members",
    "ObserveOnly",
    "Pair",
    "Pairs",
    "PassedOver",
    "Place",
    "Process",
    "Repair",
    "Request",
    "Revocation",
    "Served",
    "Snapshot",
    "Staged",
    "Trust",
    "Why",
    "Window",
    "Word",
    "counted",
]
