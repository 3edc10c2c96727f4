"""The catalogue of log events. Names, fields and message ids are an interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid5

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event."""

    level: Level
    meaning: str
    remedy: str = ""
    fields: tuple[str, ...] = ()
    repeats: bool = False  # it may come again and again: then one line a minute, with the count of those left out


ABOUT = ("code", "severity")
EVENTS: dict[str, Event] = {
    "agent.started": Event("info", "the agent started"),
    "agent.stopping": Event("info", "the agent is stopping"),
    "config.loaded": Event("info", "a configuration was loaded"),
    "config.rejected": Event(
        "error",
        "a changed configuration has mistakes; the old one stays in force",
        "certagent config check",
        repeats=True,
    ),
    "converged": Event(
        "info",
        "one pass of the loop did something: what it did and what is pending",
        fields=("actions", "severity"),
        repeats=True,
    ),
    "finding.appeared": Event("warning", "a problem appeared", fields=ABOUT, repeats=True),
    "finding.changed": Event("warning", "a finding changed its severity or message", fields=ABOUT, repeats=True),
    "finding.cleared": Event("info", "a problem was resolved", fields=ABOUT, repeats=True),
    "mode.repaired": Event(
        "warning", "the mode of a key was repaired; one line a minute and key", "find out what changed it"
    ),
    "mode.repair-failed": Event(
        "error", "the mode of a key could not be repaired", "chmod 0600 the key as its owner or as root", repeats=True
    ),
    "issue.started": Event("info", "a request to an authority started", repeats=True),
    "ca.created": Event(
        "warning", "an embedded CA was created", "keep a backup of its directory; no other host knows this CA"
    ),
    "issue.succeeded": Event("info", "an authority issued a certificate; it is staged"),
    "issue.failed": Event(
        "warning", "a request to an authority failed, or its answer was unusable", "certagent history", repeats=True
    ),
    "issue.waiting": Event(
        "info", "an authority accepted the request and issues later; the key is kept until then", repeats=True
    ),
    "issue.reminder": Event(
        "warning",
        "a person has not answered the request yet",
        "put the certificate into the inbox that the reason names",
    ),
    "issue.refused": Event("error", "an authority refused the request", "check the policy of the CA", repeats=True),
    "window.known": Event("info", "a CA named a renewal window"),
    "window.unknown": Event("info", "a CA named no renewal window; certagent uses its own rule", repeats=True),
    "pair.installed": Event("info", "a pair was installed"),
    "pair.refused": Event(
        "error",
        "a staged pair did not pass the pre-install checks; the old pair stays",
        "certagent explain renewal.refused",
        repeats=True,
    ),
    "pair.adopted": Event("info", "a pair that certagent did not issue was adopted"),
    "pair.revoked": Event(
        "error",
        "a certificate is revoked; it is never installed again, and certagent requests a new one with a new key",
    ),
    "pair.rolled-back": Event("warning", "an earlier pair was restored", "see the log of the process"),
    "swap.recovered": Event("warning", "an interrupted swap was finished or undone", repeats=True),
    "reload.sent": Event("info", "a SIGHUP was sent; the result is not verified yet"),
    "reload.failed": Event("error", "a SIGHUP could not be sent", "certagent status", repeats=True),
    "reload.proven": Event("info", "a process was verified to serve what is on disk"),
    "reload.unproven": Event(
        "warning", "a process still serves something else", "see the log of the process", repeats=True
    ),
    "process.appeared": Event("info", "a process that uses the directory was found", repeats=True),
    "process.gone": Event("info", "a process that used the directory ended", repeats=True),
    "watch.rearmed": Event("warning", "a watched directory was replaced; the new one is watched", repeats=True),
    "clock.jumped": Event("warning", "the wall clock jumped; everything is checked again", repeats=True),
    "ledger.failed": Event(
        "error",
        "attempts cannot be recorded; nothing new is issued until they can",
        "free disk space or repair state_dir",
        repeats=True,
    ),
    "action.failed": Event("error", "an action failed", "certagent plan", repeats=True),
    "command.received": Event("info", "an operator's command was accepted"),
    "command.declined": Event(
        "warning",
        "an operator's command was cancelled; it is not carried out later",
        "remove what the reason names, then repeat the command",
    ),
    "rotation.phase": Event(
        "info",
        "a rotation of the CA reached another phase, or waits for something else",
        "certagent rotation status",
        ("phase", "waits_for"),
    ),
    "rotation.ended": Event("info", "a rotation is over: no former CA is in the bundle any more"),
    "rotation.paused": Event("warning", "a person paused a rotation", "certagent rotation resume"),
    "rotation.resumed": Event("info", "a person took back that a rotation is paused or aborted"),
    "rotation.taken-back": Event("info", "a person took back what was said about clients of other hosts"),
    "rotation.aborted": Event(
        "warning", "a person aborted a rotation: certificates go back to the former root", "certagent rotation status"
    ),
    "rotation.forced": Event(
        "warning", "a person said not to wait for one member", "see that this member trusts the new root"
    ),
    "rotation.clients-trust": Event("info", "a person said that clients of other hosts trust the new root"),
    "rotation.clients-present": Event(
        "info", "a person said that no client of another host presents a certificate of a former CA"
    ),
    "directory.retired": Event("info", "a certs directory is no longer managed"),
}
LEVELS: dict[str, Level] = {"ok": "info", "info": "info", "warning": "warning", "critical": "error"}
NAMESPACE = "4f0b6e0e-2c1d-5d8e-9a53-7f6f1b6a9c11"  # of the message ids: it never changes


def message_id(name: str) -> str:
    """The id of an event in systemd's journal and in its message catalogue: the same in every version."""
    return uuid5(UUID(NAMESPACE), name).hex


def level_of(name: str, fields: Mapping[str, Any]) -> Level:
    """The level of an event; that of a finding that appears or changes follows its severity."""
    if name in {"finding.appeared", "finding.changed"}:
        return LEVELS[fields["severity"]]
    return EVENTS[name].level
