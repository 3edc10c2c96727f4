"""Everything the agent can do: one closed union. What is not listed here cannot be asked of the host.

Each action is a value that carries its reason; the log, `status`, `plan` and the tests quote that same sentence.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from certagent.core.facts.records import Exposure
from certagent.core.findings import Finding
from certagent.core.policy import Want
from certagent.core.rotating import EndWords as EndWords  # noqa: PLC0414 - exported
from certagent.core.rotating import LookAt as LookAt  # noqa: PLC0414 - exported
from certagent.core.rotating import Prune as Prune  # noqa: PLC0414 - exported


@dataclass(frozen=True, slots=True)
class Recover:
    """Finish, or undo, a swap that was interrupted: by cryptographic match, never by trust in the intent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Restrict:
    """Give a key the mode that it should have; never another owner, who could read what was root's."""

    file: str
    mode: int
    reason: str
    since: datetime | None = field(default=None, compare=False)  # when it came to be wrong, by the kernel's clock


@dataclass(frozen=True, slots=True)
class Expose:
    """Take note that a key could be read by others again and again: durably, until a person clears it."""

    exposure: Exposure
    reason: str

    @property
    def file(self) -> str:
        """The key's."""
        return self.exposure.file


@dataclass(frozen=True, slots=True)
class RecordScope:
    """Take note of the `crdb://` URIs of a pair, so that one that replaces it is valid for no more tenants."""

    stem: str
    uris: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Issue:
    """Ask an authority for a certificate (for a bundle: for its roots); the answer is left staged. A job."""

    want: Want
    authority: str
    names: tuple[str, ...]  # the SANs to ask for
    reuse_key: bool
    reason: str
    carried_over_bundle: str = ""  # a bundle: the stem of the one whose CAs come along, for clients of before
    first: bool = False  # a bundle: nothing here shows that its CA existed before, so an embedded one may be made
    forced: bool = False  # an operator wants no pause that follows failures

    @property
    def subject(self) -> str:
        """The stem."""
        return self.want.name.stem


@dataclass(frozen=True, slots=True)
class Install:
    """Swap a staged pair in; refused by the host unless the staged bytes have these digests (certificate, key)."""

    stem: str
    digests: tuple[str, str]
    fingerprint: str
    key_mode: int
    uid: int
    gid: int
    reason: str


@dataclass(frozen=True, slots=True)
class RejectStaged:
    """Reject a staged pair that failed the pre-install checks: remove its key, keep its certificate with the reason."""

    stem: str
    digests: tuple[str, str]
    reason: str
    again_at: datetime | None = None  # its CA is not asked again before; None: as after any refusal


@dataclass(frozen=True, slots=True)
class Adopt:
    """Record a live pair that the agent did not issue, and the configuration at that time."""

    stem: str
    fingerprint: str
    want: str
    reason: str


@dataclass(frozen=True, slots=True)
class AssumeLoaded:
    """Take note that a process, first seen now, has loaded what is on disk, where no probe can tell."""

    process: str
    material: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordProof:
    """Record that a reload is verified: the process serves what is on disk."""

    process: str
    material: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Send SIGHUP to one process, as its owner, through a pidfd. A job."""

    pid: int
    start: int
    uid: int
    gid: int
    material: str  # digest of what the process should have loaded by it
    reason: str
    tried: int = 0  # signals sent for the same material before

    @property
    def subject(self) -> str:
        """Process.identity."""
        return f"{self.pid}:{self.start}"


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask one address what it serves; with `client`, offer that pair. A job."""

    host: str
    port: int
    kind: Literal["sql", "http", "auto"]
    process: str
    client: str
    reason: str

    @property
    def subject(self) -> str:
        """Host, port and client pair."""
        return probed(self.host, self.port, self.client)


def probed(host: str, port: int, client: str) -> str:
    """The subject of a probe, by which a running one is known."""
    return f"{host}:{port}/{client}"


@dataclass(frozen=True, slots=True)
class Rollback:
    """Put an earlier generation back; what it replaces is quarantined."""

    stem: str
    generation: int
    fingerprint: str  # of the generation that comes back
    bad: str  # of the one that goes
    key_mode: int
    uid: int
    gid: int
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """Look for the owning processes again. A job."""

    reason: str
    urgent: bool = False  # a process that started a moment ago must be found


@dataclass(frozen=True, slots=True)
class AskWindow:
    """Ask the authority when it wants a live leaf renewed (RFC 9773). A job."""

    stem: str
    fingerprint: str
    authority: str
    reason: str


@dataclass(frozen=True, slots=True)
class AskRevocation:
    """Ask the responders of some leaves and their issuers whether they are revoked. A job."""

    leaves: tuple[tuple[str, str], ...]  # (stem, fingerprint), live or staged
    reason: str

    @property
    def subject(self) -> str:
        """The stems."""
        return ", ".join(dict.fromkeys(stem for stem, _ in self.leaves))


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Take note that a certificate is revoked: it is never installed, nor rolled back to, again."""

    stem: str
    fingerprint: str
    reason: str


@dataclass(frozen=True, slots=True)
class RejectCommand:
    """Answer an operator's command that cannot be carried out, and take it back: nothing comes of it later."""

    command: Literal["renew", "rollback", "reload"]
    stem: str
    reason: str


Action = (
    Recover
    | Restrict
    | Expose
    | RecordScope
    | Issue
    | Install
    | RejectStaged
    | Adopt
    | AssumeLoaded
    | RecordProof
    | Reload
    | Probe
    | LookAt
    | Rollback
    | Prune
    | Scan
    | AskWindow
    | AskRevocation
    | Quarantine
    | RejectCommand
    | EndWords
)


@dataclass(frozen=True, slots=True)
class Blocked:
    """An action that is blocked by `reason`; `until` is None if its end is not known or needs a person."""

    action: str  # "issue", "reload", ...
    subject: str
    reason: str
    until: datetime | None = None
    refused: bool = False  # an operator's command for it is refused


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, what is blocked, what is wrong, and when to check again."""

    actions: tuple[Action, ...]
    blocked: tuple[Blocked, ...]
    findings: tuple[Finding, ...]
    wake_at: datetime | None


WORDS = {"AssumeLoaded": "presume", "RecordProof": "proven", "RejectCommand": "decline", "RejectStaged": "discard"}


def word_of(action: Action) -> str:
    """An action's name in `plan --json` and in the log: an interface, so it does not follow the name of the class."""
    name = type(action).__name__
    return WORDS.get(name, name.lower())


def subject_of(action: Action) -> str:
    """What an action is about: a stem, a file, a process, an address."""
    return next((str(v) for k in ("stem", "file", "subject", "process") if (v := getattr(action, k, ""))), "")


def shown(subject: str) -> str:
    """Given a subject, return it for people: of a process only its pid, without the start time that identifies it."""
    pid, _, start = subject.partition(":")
    return f"pid {pid}" if pid.isdigit() and start.isdigit() else subject
