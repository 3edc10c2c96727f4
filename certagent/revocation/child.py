"""The worker that asks about revocation: questions on standard input, one line of JSON for each on standard output.

It gets certificates and URLs, never a key, and gives up the same rights as every worker before it uses the network.
Everything is imported before that, because perhaps only root can read the virtual environment. The agent kills it at a
deadline.
"""

import base64
import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

from certagent import x509
from certagent.revocation.fetching import Fetch, FetchError, fetch
from certagent.sandbox import Profile, confine
from certagent.sandbox.loading import load_whole
from certagent.sandbox.worker_process import user_of

TYPE = "application/ocsp-response"
HEADERS = {"Content-Type": "application/ocsp-request", "Accept": TYPE, "User-Agent": "certagent"}
MOST_ANSWER = 1 << 20
MOST_LIST = 32 << 20
SECONDS = 120  # of processor time
MEMORY = 2 << 30  # of address space: each thread reserves more than it uses
LONGEST = 300  # of a reason: no responder fills the answer that others have a part of
DECISIVE = frozenset({"good", "revoked"})


class Lists:
    """Revocation lists by their URL, each fetched once."""

    def __init__(self, reach: tuple[bool, frozenset[str]] = (False, frozenset())) -> None:
        """Nothing is fetched yet. `reach`: see `reach`."""
        self._reach = reach
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()
        self._known: dict[str, bytes | FetchError] = {}

    def get(self, url: str, until: float) -> bytes:
        """The bytes of a list. Raises FetchError."""
        with self._guard:
            lock = self._locks[url]
        with lock:
            if url not in self._known:
                try:
                    what = Fetch("GET", url, None, {"User-Agent": "certagent"}, "", MOST_LIST, *self._reach)
                    self._known[url] = fetch(what, until)
                except FetchError as error:
                    self._known[url] = error
        found = self._known[url]
        if isinstance(found, FetchError):
            raise found
        return found


def give_up(user: tuple[int, int] | None) -> None:
    """Everything but the questions: files, processes, programs; where we are root, being root. Raises OSError.

    The certificates name the responders, which may redirect to any port: ports are not limited.
    """
    if user is not None:
        load_whole("cryptography", "certagent.x509")
    confine(Profile(connect=None, datagrams=True, memory=MEMORY), user, "", SECONDS)


def answers(question: dict[str, Any], request: dict[str, Any], lists: Lists) -> list[dict[str, Any]]:
    """Given a question, ask its responders in order until one decides (or all of them), then its lists."""
    cert, issuer = (base64.b64decode(question[k]) for k in ("cert", "issuer"))
    end = time.monotonic() + float(request["timeout"])

    def by_ocsp(url: str, until: float) -> x509.RevocationAnswer:
        what = Fetch("POST", url, x509.ocsp_request(cert, issuer), HEADERS, TYPE, MOST_ANSWER, *reach(request))
        return x509.ocsp_answer(fetch(what, until), cert, issuer, datetime.now(UTC))

    def by_list(url: str, until: float) -> x509.RevocationAnswer:
        return x509.crl_answer(lists.get(url, until), cert, issuer, datetime.now(UTC))

    found: list[dict[str, Any]] = []
    ways = {"ocsp": by_ocsp, "crl": by_list}
    for source, url in turns(question):
        if due(source, found, every=bool(request["every"])):
            found.append(answer(source, url, ways[source], deadline(source, request, time.monotonic(), end)))
    return found


def reach(request: dict[str, Any]) -> tuple[bool, frozenset[str]]:
    """Whether any address may be asked, and the URLs that may be anywhere."""
    return bool(request["allow_private"]), frozenset(request["configured"])


def turns(question: dict[str, Any]) -> list[tuple[str, str]]:
    """Whom to ask, in order: responders, then lists."""
    return [(source, url) for source in ("ocsp", "crl") for url in question[source]]


def due(source: str, found: list[dict[str, Any]], *, every: bool) -> bool:
    """Whether the next one is asked, after what was found: until one decides; with `every` each responder."""
    return not decided(found) or (every and source == "ocsp")


def deadline(source: str, request: dict[str, Any], now: float, end: float) -> float:
    """When an answer is too late: its responders together have until `end`, with `every` each has its own time."""
    if source == "crl":
        return now + float(request["list"])
    return now + float(request["timeout"]) if request["every"] else end


def decided(found: list[dict[str, Any]]) -> bool:
    """Whether an answer counts already."""
    return any(a["status"] in DECISIVE for a in found)


def within(until: float, work: Callable[[], x509.RevocationAnswer]) -> x509.RevocationAnswer:
    """The work's result, or FetchError at the deadline, whatever it hangs on: a resolver, headers that drip."""
    results: SimpleQueue[x509.RevocationAnswer | Exception] = SimpleQueue()

    def run() -> None:
        try:
            results.put(work())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            results.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        found = results.get(timeout=max(0.0, until - time.monotonic()))
    except Empty:
        raise FetchError("no answer in time") from None
    if isinstance(found, Exception):
        raise found
    return found


def answer(source: str, url: str, way: Callable[[str, float], x509.RevocationAnswer], until: float) -> dict[str, Any]:
    """One answer, or the reason for none."""
    begun = time.monotonic()
    try:
        said = within(until, lambda: way(url, until))
    except (FetchError, x509.X509Error) as error:
        row: dict[str, Any] = {"status": "unreachable", "reason": str(error)[:LONGEST]}
        row |= dict.fromkeys(("this_update", "next_update", "revoked_at"))
    else:
        row = {"status": said.status, "reason": said.reason}
        moments = ("this_update", "next_update", "revoked_at")
        row |= {k: at.timestamp() if (at := getattr(said, k)) else None for k in moments}
    return {"source": source, "url": url, "latency_ms": round((time.monotonic() - begun) * 1000), **row}


def main() -> int:
    """`child UID:GID`: answer every question, several at a time; one that fails takes no other with it."""
    out = os.dup(1)
    os.dup2(2, 1)  # a library that prints spoils no answer
    request = json.load(sys.stdin)
    os.environ |= request["environ"]
    give_up(user_of(sys.argv[1]))
    lists, guard = Lists(reach(request)), threading.Lock()

    def work(question: dict[str, Any]) -> None:
        line = json.dumps({"id": question["id"], "answers": answers(question, request, lists)}) + "\n"
        with guard:
            os.write(out, line.encode())

    with ThreadPoolExecutor(int(request["threads"])) as pool:
        for done in [pool.submit(work, q) for q in request["questions"]]:
            if (error := done.exception()) is not None:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.stderr.flush()
    os._exit(0)  # threads that still hang are not waited for
