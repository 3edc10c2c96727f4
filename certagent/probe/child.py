"""One probe, in a child of its own: it gives up everything but the port that it asks, resolves a name, and answers.

What a server sends is parsed here alone. Rejected: threads of the agent, in which bytes that are slow to parse stop
everything.
"""

import encodings.idna
import encodings.punycode  # noqa: F401 - both resolve a name, when perhaps no module can be read any more
import json
import os
import socket
import time
from dataclasses import asdict, replace
from typing import Any

from certagent.probe.exchange import Client, Outcome, exchanged
from certagent.probe.looking import Found, console, looked
from certagent.sandbox import Profile, confine, refuse_more

FILES = 2
ADDRESSES = 8
MEMORY = 512 << 20
WHOLE = 3.0  # times `timeout`: the handshake, the names of CAs, and what a loaded machine adds
START = 5.0
LIBRARIES = ("certagent.probe",)
LOOK = "look"  # at a member, in place of the kind of a port


def allowed(timeout: float) -> float:
    """Seconds after which a child is killed."""
    return WHOLE * timeout + START


def answer(question: dict[str, Any], files: list[int]) -> None:
    """Make the probe; the first file is the pipe for what was found, a second one has a client pair to offer."""
    host, port, timeout = question["host"], question["port"], question["timeout"]
    end = time.monotonic() + timeout
    profile = Profile(connect=(port, *filter(None, [question.get("console")])), memory=MEMORY)
    confine(replace(profile, datagrams=True), None, "", timeout)
    addresses = resolved(host, port)
    refuse_more(profile)  # the server's bytes need no UDP
    pair = f"/proc/self/fd/{files[1]}" if len(files) == FILES else ""
    if question["kind"] == LOOK:  # one deadline holds for all of it, the name included
        found: Outcome | Found = _looked(question, addresses, pair, end)
    else:
        client = Client(user=question["user"], path=pair) if pair else None
        found = exchanged(addresses, question["kind"], client, timeout)
    with os.fdopen(files[0], "wb") as out:
        out.write(json.dumps(asdict(found)).encode())


def _looked(question: dict[str, Any], addresses: list[tuple[str, int]], pair: str, end: float) -> Found:
    """A look at a member, and at its metrics where it answered and they are asked for."""
    found = looked(addresses, pair, end)
    if not question["console"] or found.outcome == "silent":
        return found
    return replace(found, ca_ends=console(addresses, question["console"], end))


def resolved(host: str, port: int) -> list[tuple[str, int]]:
    """The addresses of a host; the name itself where it has none, so that connecting says why."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [(host, port)]
    return [(str(address[0]), port) for *_, address in found[:ADDRESSES]]
