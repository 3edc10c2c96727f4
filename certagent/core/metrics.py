"""The status document -> metrics for Prometheus.

Nothing is decided here: each value is a field of the document that `certagent status --json` prints. Names, labels and
units are an interface; docs/metrics.md shows the table below. How many series there are follows from the configuration,
and never from what a certs directory holds: what is over a limit is counted by `certagent_left_out`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certagent.core.exits import exit_code
from certagent.core.names import Name, parse

MOST_FILES = 50  # of a certs directory: what servers load, then the others, the earliest end first
MOST_CAS = 10  # of a bundle: those that end first
MOST_ANCHORS = 4  # of a file
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric; all of them are gauges."""

    name: str
    labels: tuple[str, ...]
    means: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of a metric: `labels` in the order of the family's."""

    name: str
    labels: tuple[str, ...]
    value: float


def _families(*rows: tuple[str, str, str]) -> tuple[Family, ...]:
    return tuple(Family(name=f"certagent_{n}", labels=tuple(labels.split()), means=means) for n, labels, means in rows)


FAMILIES = _families(
    ("build_info", "agent version", "The version of the agent; the value is always 1."),
    (
        "config_info",
        "agent digest",
        "A digest of the configuration in force, the same on hosts that differ in names and probe only; always 1.",
    ),
    ("start_time_seconds", "agent", "When the agent started, in seconds since 1970."),
    (
        "last_turn_timestamp_seconds",
        "agent",
        "When the main loop of the agent last turned; it is older than three rescans where no agent runs.",
    ),
    ("rescan_seconds", "agent", "The longest time between two turns of the loop, as configured."),
    ("status", "agent", "The exit code of certagent status: 0 ok, 1 warning, 2 critical, 3 unknown."),
    ("clock_sound", "agent", "Whether the agent believes the clock of the host: 1 or 0."),
    ("clock_synchronised", "agent", "Whether the kernel says that a time service keeps the clock: 1 or 0."),
    ("left_out", "agent", "How many files and CAs have no series of their own because there are too many."),
    (
        "authority_failed_attempts",
        "agent authority",
        "How many requests to the authority failed since it last answered one.",
    ),
    ("directory_checked_timestamp_seconds", "certs_dir", "When the last check of the certs directory ended."),
    ("findings", "certs_dir code severity", "How many findings of that code and severity there are; none: no series."),
    (
        "rotation_info",
        "certs_dir bundle phase waits_for",
        "A change of the CA that is under way: the last phase that is reached; always 1.",
    ),
    (
        "rotation_members_left",
        "certs_dir bundle",
        "How many members were not seen to serve a certificate of the new root yet.",
    ),
    (
        "certificate_not_after_timestamp_seconds",
        "certs_dir file",
        "When the chain on disk ends: the earliest expiry of leaf, intermediates and root.",
    ),
    ("certificate_lifetime_seconds", "certs_dir file", "From notBefore to notAfter of the certificate on disk."),
    ("certificate_renewal_timestamp_seconds", "certs_dir file", "When the renewal of the certificate is due."),
    (
        "served_not_after_timestamp_seconds",
        "certs_dir file",
        "The earliest end of the chains that processes serve, where the agent knows the certificate.",
    ),
    (
        "served_anchor_info",
        "certs_dir file bundle key",
        "A CA of the bundle that verifies what is served; without a process: what is on disk; always 1.",
    ),
    (
        "file_unverified",
        "certs_dir file proof",
        "How many addresses or processes do not use the file yet; proof: how it is verified.",
    ),
    (
        "ca_not_after_timestamp_seconds",
        "certs_dir bundle key",
        "When a CA of a bundle expires; key: the first 16 hex digits of the SHA-256 of its public key.",
    ),
)


def collected(document: Document, agent: str) -> tuple[Sample, ...]:
    """Given a status document and the name of the agent, return every sample."""
    found = [*_agent(document, agent)]
    left = 0
    for directory in document["certs_dirs"]:
        files = _chosen(directory["files"])
        cas = [(f["name"], _earliest_cas(f)) for f in files]
        left += len(directory["files"]) - len(files) + sum(len(ends[MOST_CAS:]) for _, ends in cas)
        found += _directory(directory)
        found += [sample for f in files for sample in _file(directory["path"], f)]
        found += [
            _sample("ca_not_after_timestamp_seconds", (directory["path"], name, key), at)
            for name, ends in cas
            for key, at in ends[:MOST_CAS]
        ]
    return (*found, _sample("left_out", (agent,), left))


def agent_label(path: str) -> str:
    """Given the path of a configuration file, return the name of its agent: that of the file without its ending."""
    return path.rpartition("/")[2].removesuffix(".toml")


def _chosen(files: list[Document]) -> list[Document]:
    """The files that have series of their own."""

    def rank(file: Document) -> tuple[bool, float]:
        name = parse(file["name"])
        return not (isinstance(name, Name) and name.kind.loaded), _end(file)

    return sorted(files, key=rank)[:MOST_FILES]


def _sample(name: str, labels: tuple[str, ...], value: float) -> Sample:
    return Sample(name=f"certagent_{name}", labels=labels, value=value)


def _agent(document: Document, agent: str) -> Iterator[Sample]:
    """What is said once for an agent; without one that answered, what is known regardless."""
    daemon = document["daemon"] or {}
    if daemon:
        yield _sample("build_info", (agent, daemon["version"]), 1)
        yield _sample("start_time_seconds", (agent,), _seconds(daemon["started"]))
        if daemon["last_turn"]:
            yield _sample("last_turn_timestamp_seconds", (agent,), _seconds(daemon["last_turn"]))
    yield _sample("config_info", (agent, document["configuration"]["digest"]), 1)
    yield _sample("rescan_seconds", (agent,), document["configuration"]["rescan_seconds"])
    yield _sample("status", (agent,), exit_code(document))
    clocks = [d["clock"] for d in document["certs_dirs"]]
    for word in ("sound", "synchronised") if clocks else ():
        yield _sample(f"clock_{word}", (agent,), int(all(c[word] for c in clocks)))
    failed: dict[str, int] = {}
    for authority in (a for d in document["certs_dirs"] for a in d["authorities"]):
        failed[authority["name"]] = failed.get(authority["name"], 0) + authority["failed_attempts"]
    yield from (_sample("authority_failed_attempts", (agent, name), count) for name, count in failed.items())


def _directory(directory: Document) -> Iterator[Sample]:
    path = directory["path"]
    if directory["checked_at"]:
        yield _sample("directory_checked_timestamp_seconds", (path,), _seconds(directory["checked_at"]))
    counted = Counter((f["code"], f["severity"]) for f in directory["findings"])
    yield from (_sample("findings", (path, *key), count) for key, count in sorted(counted.items()))
    for each in directory["rotations"]:
        yield _sample("rotation_info", (path, each["bundle"], each["phase"], each["waits_for"]), 1)
        members = sum(not member["own"] for member in each["members"])
        yield _sample("rotation_members_left", (path, each["bundle"]), members - each["serving"])


def _file(path: str, file: Document) -> Iterator[Sample]:
    """One pair or bundle. A bundle has no end of its own: each of its CAs has one."""
    name = file["name"]
    if file["not_after"] and not file["cas"]:
        yield _sample("certificate_not_after_timestamp_seconds", (path, name), _end(file))
        lifetime = _seconds(file["not_after"]) - _seconds(file["not_before"])
        yield _sample("certificate_lifetime_seconds", (path, name), lifetime)
    if file["renew_at"]:
        yield _sample("certificate_renewal_timestamp_seconds", (path, name), _seconds(file["renew_at"]))
    if ends := [_seconds(s["chain_ends"]) for s in file["served"] if s["chain_ends"]]:
        yield _sample("served_not_after_timestamp_seconds", (path, name), min(ends))
    for key in file["anchors"][:MOST_ANCHORS]:
        yield _sample("served_anchor_info", (path, name, file["verified_by"], key), 1)
    if file["fingerprint"]:  # what is not there is a finding of its own; no process can use it
        owed = max(len(file["owed"]), int(file["proof"] == "pending"))
        yield _sample("file_unverified", (path, name, file["proof"]), owed)


def _earliest_cas(file: Document) -> list[tuple[str, float]]:
    """The CAs of a bundle, the earliest end first; of several certificates of one key the last end counts."""
    ends: dict[str, float] = {}
    for ca in file["cas"]:
        ends[ca["key"]] = max(_seconds(ca["not_after"]), ends.get(ca["key"], 0))
    return sorted(ends.items(), key=lambda found: (found[1], found[0]))


def _end(file: Document) -> float:
    """When the chain of a file ends; of one without a certificate at once."""
    stamp = file["chain_ends"] or file["not_after"]
    return _seconds(stamp) if stamp else 0


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def exposition(samples: Iterable[Sample]) -> str:
    """The samples in Prometheus' text format 0.0.4, in the order of the table above."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.name, []).append(sample)
    lines = []
    for family in FAMILIES:
        rows = [f"{family.name}{_labels(family, s)} {_number(s.value)}" for s in found.get(family.name, ())]
        head = [f"# HELP {family.name} {family.means}", f"# TYPE {family.name} gauge"]
        lines += [*head, *rows] if rows else []
    return "".join(f"{line}\n" for line in lines)


def _labels(family: Family, sample: Sample) -> str:
    pairs = zip(family.labels, sample.labels, strict=True)
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
