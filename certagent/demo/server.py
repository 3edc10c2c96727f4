"""A TLS server that stands in for cockroach: it loads, serves and reloads by cockroach's rules.

SQL port (pgwire SSLRequest, client certificates verified; also the RPC of other nodes) and HTTP port
(`/_status/vars`). As in Go the TLS configuration is built at the first handshake from the bytes loaded last: a
mismatched pair is loaded silently and then fails every new connection. Before the server listens, SIGHUP kills it.

For tests, in the environment: STANDIN_START_AFTER (a file for which it waits), STANDIN_RELOAD_DELAY (seconds),
STANDIN_DEAF (a reload changes nothing), STANDIN_IGNORE_HUP, STANDIN_MUTE (no connection gets an answer; `sql` or
`http`: none on that port), STANDIN_FAITHFUL (handshakes fail with any other node pair than the first one),
STANDIN_ROTATIONS (its metrics say when a reload last changed each file, as those of cockroach 26.3),
STANDIN_RELEASE (24.1: it loads as that version does, and names it in its metrics), STANDIN_NO_LOGIN (a user who may not
log in), STANDIN_LIVE_NODES (how many nodes its metrics call live: a number, or a file that has one).
"""

import argparse
import ctypes
import json
import os
import pwd
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from certagent.demo.loader import Flags, LoadError, Material, load, reload_problem, start_problem
from certagent.demo.logins import Shown, may_call, may_log_in, shown_by
from certagent.demo.offering import built, offer, tls_problem

PR_SET_NAME, PR_SET_DUMPABLE = 15, 4
SSL_REQUEST = struct.pack("!II", 8, 80877103)
AUTHENTICATION_OK = b"R" + struct.pack("!II", 8, 0)
REFUSED = b"SFATAL\0C28000\0Mrequested user is not authorized for the certificate\0\0"
HANDSHAKE = b"\x16"
SIGNALS = {signal.SIGHUP, signal.SIGTERM}
TIMEOUT = 30.0
POLL = 0.01
METRICS = {"node": "node", "client.node": "node_client", "ui": "ui", "ca": "ca", "ca-client": "client_ca"}


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a test wants it to misbehave."""

    start_after: str = ""
    reload_delay: float = 0.0
    deaf: bool = False
    ignore_hup: bool = False
    mute: str = ""
    faithful: bool = False
    rotations: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Quirks":
        """Given the environment; ValueError for a delay that is not a number."""
        start, reload = environ.get("STANDIN_START_AFTER", ""), float(environ.get("STANDIN_RELOAD_DELAY", "0"))
        deaf, ignore, faithful = (bool(environ.get(f"STANDIN_{name}")) for name in ("DEAF", "IGNORE_HUP", "FAITHFUL"))
        mute, rotations = environ.get("STANDIN_MUTE", ""), bool(environ.get("STANDIN_ROTATIONS"))
        return cls(start, reload, deaf, ignore, mute, faithful, rotations)


def user_of(message: bytes) -> str:
    """The user of a pgwire start-up message, "" for anything else."""
    words = message[8:].split(b"\0")
    return words[words.index(b"user") + 1].decode("utf-8", "replace") if b"user" in words[:-1] else ""


def rpc_answer(who: Shown | None, flags: Flags) -> bytes:
    """Another node calls: it must have shown a certificate of `node`, or of `root`; a tenant's names its id."""
    return b"OK" if may_call(who, flags) else f"refused: {who or 'no certificate'}".encode()


def sql_answer(message: bytes, who: Shown | None, flags: Flags) -> tuple[bytes, bool]:
    """Given a start-up message and whom the client's certificate names, return the answer, and whether it may go on.

    `who` None: no certificate was shown, which is left to a password.
    """
    user = user_of(message)
    if user and who is not None and not may_log_in(user, who, flags):
        return b"E" + struct.pack("!I", 4 + len(REFUSED)) + REFUSED, False
    return (AUTHENTICATION_OK if message else b""), True


def live_nodes(configured: str) -> str:
    """Given a number, or the path of a file that has it, return it; one node where nothing is configured."""
    if configured.startswith("/"):
        with open(configured) as file:
            return file.read().strip()
    return configured or "1"


def metrics_page(material: Material, rotated: Mapping[str, int], release: str, live: str = "1") -> str:
    """Given what is loaded, when reloads changed files, the version and how many nodes live, return `/_status/vars`."""
    held = {label: entry for stem, label in METRICS.items() if (entry := material.good(stem))}
    lines = [f'security_certificate_expiration_{label}{{node_id="1"}} {e.not_after}' for label, e in held.items()]
    lines += [f'security_certificate_last_rotation_{METRICS[s]}{{node_id="1"}} {at}' for s, at in rotated.items()]
    lines += [f'build_timestamp{{tag="v{release}.0",node_id="1"}} 1.7e+09'] if release else []
    return "\n".join([*lines, f'liveness_livenodes{{node_id="1"}} {live}', ""])


class Server:
    """One stand-in."""

    def __init__(self, arguments: argparse.Namespace, quirks: Quirks) -> None:
        """Loads the directory; SystemExit where cockroach would not come up."""
        self.arguments, self.quirks = arguments, quirks
        self.rotated: dict[str, int] = {}  # when a reload last changed a file
        flags = Flags.of(arguments.cert_principal_map, arguments.node_cert_distinguished_name, os.environ)
        self.flags = replace(
            flags,
            root_login=not arguments.disallow_root_login,
            debug_user=arguments.allow_debug_user,
            sql_server="start-sql" in arguments.command,
        )
        try:
            self.material = self.first = load(arguments.certs_dir, self.flags)
            problem = start_problem(self.material) or tls_problem(self.material)
        except LoadError as error:
            problem = str(error)
        if problem:
            raise SystemExit(f"cockroach: cannot start: {problem}")

    def log(self, event: str, **fields: object) -> None:
        """One JSON line."""
        line = json.dumps({"at": time.time(), "event": event, "pid": os.getpid(), **fields})
        with open(self.arguments.log, "a") as file:
            file.write(line + "\n")

    def listen(self, kind: str, address: str) -> int:
        """Open a port and serve it; return its number."""
        host, _, port = address.rpartition(":")
        listener = socket.create_server((host, int(port)), backlog=256)
        threading.Thread(target=self._accept, args=(kind, listener), daemon=True).start()
        return int(listener.getsockname()[1])

    def _accept(self, kind: str, listener: socket.socket) -> None:
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=self._serve, args=(kind, raw), daemon=True).start()

    def _serve(self, kind: str, raw: socket.socket) -> None:
        if self.quirks.mute in {"1", kind}:
            threading.Event().wait()
        with raw, suppress(OSError):
            raw.settimeout(TIMEOUT)
            spoken = _spoken(kind, raw)
            if self._faithless():
                raw.recv(4096)
            elif what := offer(self.material, spoken):
                with built(what).wrap_socket(raw, server_side=True) as tls:
                    {"sql": self._sql, "rpc": self._rpc, "http": self._http}[spoken](tls)

    def _faithless(self) -> bool:
        """Another node pair than the first one is loaded, which STANDIN_FAITHFUL forbids."""
        return self.quirks.faithful and self.material.good("node") != self.first.good("node")

    def _shown(self, tls: ssl.SSLSocket) -> Shown | None:
        """The user of the client certificate; None without one."""
        der = tls.getpeercert(binary_form=True)
        return shown_by(ssl.DER_cert_to_PEM_cert(der).encode(), self.flags) if der else None

    def _rpc(self, tls: ssl.SSLSocket) -> None:
        tls.recv(4096)
        tls.sendall(rpc_answer(self._shown(tls), self.flags))

    def _sql(self, tls: ssl.SSLSocket) -> None:
        """Answer the start-up message, then echo: an open connection shows that a reload does not end it."""
        told, welcome = sql_answer(tls.recv(4096), self._shown(tls), self.flags)
        tls.sendall(told)
        while welcome and (data := tls.recv(4096)):
            tls.sendall(data)

    def _http(self, tls: ssl.SSLSocket) -> None:
        tls.recv(65536)
        rotated = self.rotated if self.quirks.rotations else {}
        live = live_nodes(os.environ.get("STANDIN_LIVE_NODES", ""))
        told = metrics_page(self.material, rotated, os.environ.get("STANDIN_RELEASE", ""), live)
        tls.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + told.encode())

    def reload(self, uid: int) -> None:
        """Load again, and keep the old where something would be lost."""
        time.sleep(self.quirks.reload_delay)
        fresh, problem = self._loaded()
        if not problem and not self.quirks.deaf:
            changed = {s for s in METRICS if fresh.good(s) != self.material.good(s)}
            self.rotated |= dict.fromkeys(changed, int(time.time()))
            self.material = fresh
        self.log("reload", ok=not problem, reason=problem, sender_uid=uid)

    def _loaded(self) -> tuple[Material, str]:
        """What the directory has now, and why it does not replace what is loaded; "" where it does."""
        try:
            fresh = load(self.arguments.certs_dir, self.flags)
        except OSError as error:
            return self.material, f"missing certs directory: {error.strerror}"
        except LoadError as error:
            return self.material, str(error)
        return fresh, reload_problem(self.material, fresh)


def _spoken(kind: str, raw: socket.socket) -> str:
    """What a connection to a port speaks, once its TLS may begin. Raises OSError where it speaks neither."""
    if kind != "sql":
        return kind
    if raw.recv(1, socket.MSG_PEEK) == HANDSHAKE:
        return "rpc"  # as cockroach tells them apart on its one port
    if raw.recv(8) != SSL_REQUEST:
        raise ConnectionError("neither TLS nor pgwire")
    raw.sendall(b"S")
    return kind


def become(user: str) -> None:
    """Become a user irrevocably; the process stays visible to that user, as if that user had started it."""
    account = pwd.getpwnam(user)
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)


def options() -> argparse.ArgumentParser:
    """The flags of `cockroach start` that matter here."""
    parser = argparse.ArgumentParser(prog="cockroach")
    parser.add_argument("command", nargs="+", choices=["start", "start-single-node", "mt", "start-sql"])
    parser.add_argument("--certs-dir", required=True)
    parser.add_argument("--listen-addr", default="127.0.0.1:0")
    parser.add_argument("--http-addr", default="127.0.0.1:0")
    parser.add_argument("--cert-principal-map", default="")
    parser.add_argument("--node-cert-distinguished-name", default="")
    parser.add_argument("--disallow-root-login", action="store_true")
    parser.add_argument("--allow-debug-user", action="store_true")
    parser.add_argument("--advertise-addr", default="")
    parser.add_argument("--join", "-j", action="append", default=[], help="its metrics say how many nodes are live")
    parser.add_argument("--pid-file", default="")
    parser.add_argument("--ports-file", required=True, help="where the ports are written once it listens")
    parser.add_argument("--log", default=os.devnull)
    parser.add_argument("--user", default="", help="drop to this user first")
    return parser


def main(beside: Callable[[Server], None] = lambda _: None) -> None:
    """Start, listen, begin what the server does `beside` that, then wait for signals."""
    arguments = options().parse_args()
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"cockroach")
    quirks = Quirks.of(os.environ)
    if arguments.user:
        become(arguments.user)
    if quirks.start_after:
        _wait_for(quirks.start_after)
    server = Server(arguments, quirks)
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    ports = {"sql": server.listen("sql", arguments.listen_addr), "http": server.listen("http", arguments.http_addr)}
    _announce(arguments, ports)
    if quirks.ignore_hup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server.log("started", **ports)
    beside(server)
    while (info := signal.sigwaitinfo(SIGNALS)).si_signo == signal.SIGHUP:
        server.reload(info.si_uid)


def _wait_for(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(POLL)


def _announce(arguments: argparse.Namespace, ports: Mapping[str, int]) -> None:
    if arguments.pid_file:
        _write(arguments.pid_file, f"{os.getpid()}\n")
    _write(arguments.ports_file, json.dumps({"pid": os.getpid(), **ports}))


def _write(path: str, text: str) -> None:
    """Whole, or not there."""
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


if __name__ == "__main__":
    main()
