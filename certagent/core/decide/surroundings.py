"""The directory, the strangers in it, the clock, the ledger, the watching: what is wrong around the pairs."""

from certagent.core import names
from certagent.core.actions import Finding, Recover
from certagent.core.decide.part import Part
from certagent.core.facts import Directory, Snapshot
from certagent.core.policy import Policy

SHARED_WRITE = 0o022
NO_DIRECTORY = "Not a directory"  # in the kernel's words


def part(policy: Policy, snapshot: Snapshot) -> Part:
    """Findings about the surroundings; and the recovery of an interrupted swap."""
    directory = snapshot.directory
    findings = [*_directory(policy, directory), *_strangers(snapshot), *_agent(snapshot)]
    actions = (
        (Recover("an intent stands: a swap was interrupted"),)
        if directory.interrupted and not directory.foreign
        else ()
    )
    return Part(actions, findings=tuple(findings))


def _directory(policy: Policy, directory: Directory) -> list[Finding]:
    path = directory.path
    if not directory.exists:
        remedy = f"install -d -m 0700 -o {policy.owner.user} {path}"
        return [Finding("dir.missing", "critical", path, f"{path} does not exist", remedy)]
    found = []
    if directory.problem:
        file = directory.problem == NO_DIRECTORY
        remedy = "name the directory itself" if file else "give the agent's user access to it"
        found.append(Finding("dir.missing", "critical", path, f"{path} cannot be read: {directory.problem}", remedy))
    if directory.foreign and not directory.problem:
        remedy = "set `authority` to one of type none: the files are observed, reloaded and proven only"
        found.append(
            Finding("dir.foreign", "warning", path, f"something else owns the files: {directory.foreign}", remedy)
        )
    if directory.mode & SHARED_WRITE:
        message = f"mode is {directory.mode:04o}: others may replace its files"
        found.append(Finding("dir.mode", "warning", path, message, f"chmod go-w {path}"))
    return found


def _strangers(snapshot: Snapshot) -> list[Finding]:
    found = []
    for file in snapshot.unmanaged_files:
        parsed = names.parse(names.stem_of(file.name))
        reason = parsed.reason if isinstance(parsed, names.Unknown) else f"it is a {file.kind}"
        found.append(Finding("name.unknown", "warning", file.name, reason, "rename it or move it out of the certs-dir"))
    return found


def _agent(snapshot: Snapshot) -> list[Finding]:
    found = [Finding(d.code, d.severity, "", d.reason, d.remedy) for d in snapshot.degraded]
    if not snapshot.clock.sound:
        found.append(
            Finding(
                "clock.unsound",
                "critical",
                "",
                snapshot.clock.reason,
                "set the clock, start a time service; nothing is renewed until then",
            )
        )
    if snapshot.ledger_problem:
        found.append(
            Finding(
                "ledger.unwritable",
                "critical",
                "",
                snapshot.ledger_problem,
                "free space or repair state_dir; nothing is issued until then",
            )
        )
    return found
