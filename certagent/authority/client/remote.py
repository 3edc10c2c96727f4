"""A CA that is asked by a worker: what the worker gets for a request, and how its answer is used."""

import importlib.util
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from certagent import x509
from certagent.authority.backends import dropbox
from certagent.authority.client.interface import Order
from certagent.authority.client.live import live_key, proof_of
from certagent.authority.client.memory import Deliveries, Heard, Memory, registered
from certagent.authority.client.pinned import certificates, pinned_roots, unknown
from certagent.authority.client.secrets import read_file, read_secret
from certagent.authority.errors import AuthorityError, Kind
from certagent.authority.messages import (
    Answer,
    Done,
    Failure,
    Issued,
    Operation,
    Pending,
    Renewal,
    Request,
    Roots,
    State,
    Tls,
    dump_question,
    error_of,
    load_answer,
)
from certagent.config.remote import RemoteConfig
from certagent.core.facts import Authority, Leaf
from certagent.posix.errors import HostError, StoppingError
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import AuthorityState

WORKER = "certagent.authority.worker"
GRACE = 10.0  # to start, to import, and to answer that the time is over
LONGEST_PAUSE = timedelta(days=7)


class Remote:
    """A CA that is asked over a wire, by a worker; or by files, in this process."""

    may_defer = True

    def __init__(
        self, name: str, config: RemoteConfig, workers: Workers, book: AuthorityState, *, of_agent: bool = True
    ) -> None:
        """Touches nothing. `of_agent`: this process is the agent, whose environment has its secrets."""
        self._of_agent = of_agent
        self._name, self._config, self._workers, self._book = name, config, workers, book
        self._type, self._traits = config.ca_type, config.traits
        self._deliveries = Deliveries(book, name)
        self._roots: tuple[tuple[int, int], tuple[Leaf, ...]] = ((0, 0), ())

    @property
    def by_hand(self) -> bool:
        """Whether a person answers."""
        return self._type.asked == "files"

    @property
    def endpoint(self) -> bool:
        """By its type."""
        return self._type.asked == "https"

    @property
    def pinned(self) -> bool:
        """By a file or by fingerprints."""
        return bool(self._config.issuing_roots or self._config.issuing_fingerprints)

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that its settings name: certificates, secrets, the drop-box."""
        c = self._config
        common = (c.issuing_roots, c.tls_roots, c.client_cert, c.client_key, *c.secrets.values())
        return tuple(dict.fromkeys(path for path in (*common, *self._traits.files) if path.startswith("/")))

    def _news(self) -> datetime | None:
        return dropbox.inbox_changed(self._config.options) if self.by_hand else None

    @property
    def common_name(self) -> bool:
        """As configured, where the type has the setting."""
        return self._traits.common_name

    @property
    def by_leaf(self) -> bool:
        """Whether it is shown the managed pair as a credential."""
        return self._traits.by_leaf

    def ready(self) -> None:
        """Whether its libraries are there, and everything that the settings name can be read. AuthorityError."""
        missing = [m for m in self._type.extras if importlib.util.find_spec(m) is None]
        if missing:
            remedy = f"install certagent with the extra '{self._config.type}' (docs/install.md)"
            raise AuthorityError(f"cannot ask authority {self._name}: {', '.join(missing)} is not installed: {remedy}")
        self._request("issue")
        self._secrets(self._config.secrets)
        if self.by_hand:
            dropbox.check(self._config.options)

    def challenge(self) -> str:
        """The challenge password as configured, "" where the type has none; read anew. Raises AuthorityError."""
        source = self._traits.challenge
        try:
            return read_secret(f"authority.{self._name}.challenge", source, os.environ) if source else ""
        except HostError as error:
            raise AuthorityError(str(error), kind="credentials") from error

    def fact(self) -> Authority:
        """Its pinned roots, where a file holds them, and whether what it needs can be read.

        Where one of its files hangs, so does this.
        """
        for path in self.files:
            os.path.exists(path)
        note = 'credential = "leaf": the worker receives the managed pair' if self.by_leaf else ""
        try:
            roots, problem = self._pinned_roots(), self._closed()
        except AuthorityError as error:
            roots, problem = (), str(error)
        return Authority(
            self._name,
            self._config.type,
            roots,
            problem,
            pins=self._config.issuing_fingerprints,
            note=note,
            source=self._config.issuing_roots,
            by_hand=self.by_hand,
            windows=self._traits.windows,
            inbox_changed=self._news(),
        )

    def _closed(self) -> str | None:
        """What a request needs and this process cannot read. The environment is the agent's, not that of a command."""
        named = {k: s for k, s in self._config.secrets.items() if self._of_agent or s[:1] == "/"}
        try:
            self._request("issue")
            self._secrets(named)
        except AuthorityError as error:
            return str(error)
        return None

    def _pinned_roots(self) -> tuple[Leaf, ...]:
        path = self._config.issuing_roots
        if not path:
            return ()
        try:
            info = os.stat(path)
            mark = (info.st_ino, info.st_mtime_ns)
            if self._roots[0] != mark:
                self._roots = (mark, x509.parse_certificates(self._file("issuing_roots", path).encode()))
        except (OSError, x509.X509Error) as error:
            raise AuthorityError(f"cannot use issuing_roots of authority {self._name}: {path}: {error}") from error
        return self._roots[1]

    def bundle(self, certs_dir: str, stem: str, now: datetime, *, first: bool, known: bytes = b"") -> bytes:  # noqa: ARG002 - it exists
        """Every pinned root: of a file, and what has a configured fingerprint of the file or what the CA shows.

        Raises AuthorityError if one is missing: in the middle of a rotation the other hosts may still need it.
        """
        c = self._config
        file = self._file("issuing_roots", c.issuing_roots).encode()
        pins = unknown(c.issuing_fingerprints, known)
        return pinned_roots(f"{stem}.crt", self._name, file, pins, lambda: self._shown(certs_dir, now))

    def _shown(self, certs_dir: str, now: datetime) -> str:
        answer = self._ask(self._request("roots"), certs_dir, "", now)
        if not isinstance(answer, Roots):
            raise self._not("a bundle")
        return answer.pem

    def issue(self, order: Order, now: datetime) -> bytes | Pending:
        """Request the leaf; the answer is parsed and written again, without the root."""
        answer = self._ask(self._for_leaf(order, now), order.certs_dir, order.stem, now, order.told)
        match answer:
            case Pending():
                again = min(datetime.fromtimestamp(answer.again_at, UTC), now + LONGEST_PAUSE)
                return replace(answer, again_at=again.timestamp())
            case Issued():
                (_, leaf), *rest = certificates(self._name, answer.chain)
                return leaf + b"".join(pem for _, pem in rest if not x509.is_root(pem))
        raise self._not("a certificate")

    def delivered(self, certs_dir: str, stem: str) -> None:
        """Forget the order. Until now a crash would have found its certificate again."""
        self._deliveries.done(f"{certs_dir}\n{stem}")

    def renewal(self, certs_dir: str, stem: str, live: bytes, now: datetime) -> Renewal:
        """Ask for the window."""
        request = replace(self._request("renewal"), stem=stem, live=live.decode("utf-8", "replace"))
        answer = self._ask(request, certs_dir, stem, now)
        if not isinstance(answer, Renewal):
            raise self._not("a renewal window")
        return answer

    def account(self, operation: Operation, now: datetime) -> Done | Pending:
        """Something about the account with the CA: `rollover`, `deactivate`."""
        answer = self._ask(self._request(operation), "", "", now)
        if not isinstance(answer, Done | Pending):
            raise self._not("a result")
        return answer

    def _request(self, operation: Operation) -> Request:
        c = self._config
        tls = Tls(
            self._file("tls_roots", c.tls_roots),
            c.tls_fingerprints,
            c.proxy,
            c.allow_http,
            self._file("client_cert", c.client_cert),
            self._file("client_key", c.client_key),
        )
        options = c.options | {"issuing_roots_pem": self._file("issuing_roots", c.issuing_roots)}
        return Request(operation, c.type, options, tls, timeout=c.timeout)

    def _for_leaf(self, order: Order, now: datetime) -> Request:
        request = replace(
            self._request("issue"),
            stem=order.stem,
            csr=order.csr.decode(),
            names=order.names,
            principal=order.principal,
            server=order.server,
            client=order.client,
            lifetime=order.lifetime.total_seconds() if order.lifetime else None,
            live=order.live.decode("utf-8", "replace"),
            forced=order.forced,
            progress=order.told is not None,
        )
        if self.by_leaf and order.live:
            shown = replace(request.tls, client_cert=request.live, client_key=live_key(order).decode())
            request = replace(request, tls=shown)
        return replace(request, proof=proof_of(self._type.live_proof, request, order, now))

    def _file(self, setting: str, path: str) -> str:
        try:
            return read_file(f"authority.{self._name}.{setting}", path, others=self._book.others) if path else ""
        except HostError as error:
            raise AuthorityError(str(error), kind="credentials") from error

    def _secrets(self, named: Mapping[str, str]) -> dict[str, str]:
        """Given where each of them is, return them. Raises AuthorityError."""
        try:
            others, of = self._book.others, f"authority.{self._name}"
            return {k: read_secret(f"{of}.{k}", at, os.environ, others) for k, at in named.items()}
        except HostError as error:
            raise AuthorityError(str(error), kind="credentials") from error

    def _not(self, expected: str) -> AuthorityError:
        message = f"cannot use the answer of authority {self._name}: it is not {expected}"
        return AuthorityError(message, kind="malformed", contact="answered")

    def _ask(self, request: Request, certs_dir: str, stem: str, now: datetime, told: Heard | None = None) -> Answer:
        """One question; what the backend wants remembered is remembered. Raises AuthorityError."""
        key = f"{certs_dir}\n{stem}" if stem else ""
        try:
            with self._alone():
                memory = Memory(self._book, self._name, key)
                answer, state = self._answer(request, memory, now, told)
                if isinstance(answer, Issued):
                    self._deliveries.issued(key, state, memory.tidy)
                memory.ended(state, issued=isinstance(answer, Issued))
        except HostError as error:
            kind: Kind = "interrupted" if isinstance(error, StoppingError) else "failed"
            raise AuthorityError(str(error), kind=kind) from error
        if isinstance(answer, Failure):
            raise error_of(answer)
        return answer

    def _alone(self) -> AbstractContextManager[None]:
        wait = self._config.timeout + 2 * GRACE
        if self._traits.listens:
            return self._book.alone(self._name, wait)
        return self._book.first(self._name, wait, registered) if self._type.account else nullcontext()

    def _answer(self, request: Request, memory: Memory, now: datetime, told: Heard | None) -> tuple[Answer, State]:
        found, state = self._secrets(self._config.secrets), deepcopy(memory.saved)
        if self.by_hand:
            return self._by_files(request, found, state, memory, now)
        question = dump_question(request, found, state)
        deadline, listens = request.timeout + GRACE, self._traits.listens
        about = [self._config.type], question, deadline
        return load_answer(self._workers.ask(WORKER, *about, listens=listens, told=memory.hearing(told)))

    def _by_files(
        self, request: Request, found: dict[str, str], state: State, memory: Memory, now: datetime
    ) -> tuple[Answer, State]:
        from certagent.authority.backends.http import Http
        from certagent.authority.context import Context

        http = Http(request.tls, request.timeout)
        context = Context(found, state, http, lambda: now, lambda: memory.save(state), memory.tidy.append)
        return dropbox.ask(request, context), state
