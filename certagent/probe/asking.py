"""The agent's side of a probe: a question for the probing process, and a fact of its answer, which is not trusted."""

import json
import os
import re
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from certagent.core.facts import Listener, Served
from certagent.probe.child import allowed
from certagent.probe.exchange import Kind, Login, Outcome, Way
from certagent.probe.metrics import LABEL, LAST_MOMENT, MOST_NODES, MOST_ROTATIONS, Metrics
from certagent.sandbox.nursery import Nursery
from certagent.sandbox.user import unprivileged

CHILD = "certagent.probe.child"
TIMEOUT = 5.0  # seconds for a handshake and what follows it
LIMIT = 1 << 20  # of an answer
GRACE = 1.0
MOST_NAMES = 8192
LONGEST = 300
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
SILENT = "the process that probes gave no answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A client pair to offer: its stem, its leaf's fingerprint, and a path that holds certificate and key."""

    stem: str
    fingerprint: str
    path: str

    @property
    def user(self) -> str:
        """Who logs in with it; "" of a tenant, which is no user: TLS takes its pair or does not."""
        kind, _, user = self.stem.partition(".")
        return user if kind == "client" else ""


class Prober:
    """Asks the process that forks a child for each probe; safe to use by any thread."""

    def __init__(self, user: Callable[[], tuple[int, int]] = unprivileged) -> None:
        """Starts nothing yet. `user` says whom the process becomes where we are root."""
        self._nursery = Nursery(CHILD, user)

    def ask(self, question: dict[str, Any], pair: str, seconds: float) -> bytes:
        """The answer to a question, b"" where there is none in time. `pair`: the path of a client pair, "" for none.

        Raises OSError where no process can be started.
        """
        reading, writing = os.pipe()
        files = [writing]
        try:
            if pair:
                files.append(os.open(pair, os.O_RDONLY | os.O_CLOEXEC))
            self._nursery.send(question, files, allowed(question["timeout"]))
        except OSError:
            os.close(reading)
            raise
        finally:
            for file in files:
                os.close(file)
        try:
            return _read(reading, time.monotonic() + seconds)
        finally:
            os.close(reading)

    def end(self) -> None:
        """End the process; the next question starts another one."""
        self._nursery.end()


PROBER = Prober()  # of this process


def probe(
    host: str,
    port: int,
    kind: Kind,
    process: str,
    now: datetime,
    offer: Offer | None = None,
    timeout: float = TIMEOUT,
) -> Served:
    """Given an address, return what it serves; never raises for what the peer does."""
    user = offer.user if offer else ""
    question = {"host": host, "port": port, "kind": kind, "user": user, "timeout": timeout}
    try:
        found = outcome_of(PROBER.ask(question, offer.path if offer else "", allowed(timeout) + GRACE))
    except OSError as error:
        found = Outcome(outcome="unreachable", reason=f"cannot start a probe: {error.strerror}")
    return Served(
        Listener(host, port).address,
        found.way,
        process,
        now,
        "unreachable" if found.outcome == "other protocol" else found.outcome,
        found.fingerprint,
        found.client_cas,
        found.metrics.expiry,
        found.reason,
        offer.stem if offer else "",
        offer.fingerprint if offer else "",
        only_tls=offer is not None and found.outcome == "served" and not found.login.granted,
        sqlstate=found.login.sqlstate,
        rotations=found.metrics.rotations,
        release=found.metrics.release,
        live_nodes=found.metrics.live,
    )


def outcome_of(answer: bytes) -> Outcome:
    """Given what a child wrote, return it where each field is what it may be; else that there is no answer."""
    try:
        return _outcome(json.loads(answer))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Outcome(outcome="unreachable", reason=SILENT)


def _outcome(row: dict[str, Any]) -> Outcome:
    """Raises ValueError, TypeError, KeyError where something is not as it should be."""
    outcomes: tuple[Literal["served", "refused", "unreachable"], ...] = ("served", "refused", "unreachable")
    ways: tuple[Way, ...] = get_args(Way)
    return Outcome(
        outcome=outcomes[outcomes.index(row["outcome"])],
        fingerprint=_digest(row["fingerprint"]) if row["fingerprint"] else "",
        reason=printable(row["reason"]),
        metrics=_metrics(*row["metrics"]),
        login=_login(*row["login"]),
        way=ways[ways.index(row["way"])],
        client_cas=tuple(_digest(name) for name in row["client_cas"][:MOST_NAMES]),
    )


def _metrics(expiry: Any, rotations: Any, release: Any, live: Any, ca_ends: Any) -> Metrics:
    found = tuple((_label(label), number(at, LAST_MOMENT)) for label, at in rotations[:MOST_ROTATIONS])
    nodes = None if live is None else number(live, MOST_NODES)
    told = _release(*release) if release else None
    return Metrics(number(expiry, LAST_MOMENT), found, told, nodes, number(ca_ends, LAST_MOMENT))


def _release(major: Any, minor: Any) -> tuple[int, int]:
    return number(major, 1000), number(minor, 1000)


def _login(granted: Any, sqlstate: Any, message: Any) -> Login:
    return Login(granted is True, printable(sqlstate)[:5], printable(message))


def number(value: Any, end: int) -> int:
    """A number below an end, as a child wrote it. Raises ValueError for anything else."""
    if type(value) is not int or not 0 <= value < end:
        raise ValueError("not such a number")
    return value


def _label(value: Any) -> str:
    if not LABEL.fullmatch(value):
        raise ValueError("not a label")
    return str(value)


def _digest(value: Any) -> str:
    if not FINGERPRINT.fullmatch(value):
        raise ValueError("not a fingerprint")
    return str(value)


def printable(text: str) -> str:
    """Given what a child wrote for people, return it in one line, cut."""
    return "".join(c if c.isprintable() else " " for c in text[:LONGEST])


def _read(fd: int, end: float) -> bytes:
    """What arrives until the pipe is closed; b"" where that takes too long, or is too much."""
    data = bytearray()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, end - time.monotonic()) * 1000):
        part = os.read(fd, 1 << 16)
        if not part:
            return bytes(data)
        data += part
        if len(data) > LIMIT:
            break
    return b""
