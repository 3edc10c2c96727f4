"""Hosts that decide by the real core, in a network in which everything may happen at any time.

Each host has files, a process that has loaded some of them, and its own view of the others. What the core plans is
carried out here; who accepts whom is computed from what the processes have loaded, never from what the core believes.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from certagent.core.actions import Action, Install, LookAt, Prune, RejectCommand, RejectStaged, Reload, Rollback
from certagent.core.decide import decide
from certagent.core.facts import (
    Attempt,
    Authority,
    Generation,
    Leaf,
    Loaded,
    Look,
    Members,
    Pair,
    Request,
    Snapshot,
    Staged,
    Trust,
    Word,
)
from certagent.core.looks import newest
from certagent.core.policy import Policy, RotationRule
from certagent.core.serving import material
from tests.core.building import DAY, NOW, leaf, pair, policy, process, served, snapshot, want

OLD = leaf(
    "ca", 1, spki="old", subject="CN=old", subject_digest="old", not_before=NOW - 900 * DAY, not_after=NOW + 99 * DAY
)
NEW = leaf("ca", 2, spki="new", subject="CN=new", subject_digest="new", not_before=NOW - DAY, not_after=NOW + 999 * DAY)
CAS = {"old": OLD, "new": NEW}
OWN = "127.0.0.1:26257"
SECOND = timedelta(seconds=1)
PAUSES = (1, 5, 40, 200, 1200)  # seconds between two events


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """What of the guards is left out: the hosts are given what makes the core believe that it need not wait."""

    members: bool = False  # nobody is listed
    completeness: bool = False  # the own node says that there are no more than are listed
    freshness: bool = False  # each proof is of this moment
    words: bool = False  # there are said to be no clients of other hosts
    silence: bool = False  # who does not answer is not listed
    prune: bool = False  # a root is dropped without a question
    aborted: bool = False  # a person is said to have aborted everywhere
    resumed: bool = False  # that the rotation was aborted once is forgotten
    overlap: bool = False  # what a process has loaded of the bundle is said to be what is on disk


@dataclass(kw_only=True)
class Host:
    """One host: its disk, what its process has loaded, what it knows."""

    name: str
    bundle: tuple[str, ...] = ("old",)
    disk: Pair
    loaded: tuple[tuple[str, ...], Pair]  # bundle and node pair
    staged: tuple[Staged, ...] = ()
    generations: tuple[Generation, ...] = ()
    looks: tuple[Look, ...] = ()
    words: tuple[Word, ...] = ()
    requests: tuple[Request, ...] = ()
    listed: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    up: bool = True
    cut: bool = False

    @property
    def address(self) -> str:
        """As others list it."""
        return f"{self.name}:26257"


def root_of(pair: Pair) -> str:
    """The root that issued a pair."""
    return pair.leaf.issuer if pair.leaf else ""


def by(pair: Pair, bundle: tuple[str, ...]) -> Pair:
    """The pair, as this bundle verifies it."""
    root = root_of(pair)
    trust = Trust("ca", anchors=(root,)) if root in bundle else Trust("ca", "its CA is not in ca.crt")
    return replace(pair, trust=trust)


def bundle_of(cas: tuple[str, ...]) -> Pair:
    """A `ca.crt` of those CAs."""
    first, *rest = (CAS[name] for name in cas)
    made = pair("ca", first)
    assert made.cert is not None
    return replace(made, cert=replace(made.cert, digest=f"ca {cas}", chain=tuple(rest)))


@dataclass(kw_only=True)
class Network:
    """The hosts, the CA, and a client outside."""

    random: Random
    mutation: Mutation = Mutation()
    now: datetime = NOW
    issues: str = "old"
    serial: int = 0
    hosts: dict[str, Host] = field(default_factory=dict)
    client_trusts: set[str] = field(default_factory=lambda: {"old"})
    client_shows: str = "old"
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for n in range(3):
            self.add(f"h{n}", ("old",))
        for host in self.hosts.values():
            host.listed = tuple(h.address for h in self.hosts.values() if h is not host)

    def add(self, name: str, bundle: tuple[str, ...]) -> Host:
        """A host whose process has loaded what is on its disk."""
        made = self.pair()
        self.hosts[name] = Host(name=name, bundle=bundle, disk=made, loaded=(bundle, made))
        return self.hosts[name]

    def pair(self) -> Pair:
        """What the CA issues now."""
        self.serial += 1
        cert = leaf(
            "node", 100 + self.serial, issuer=self.issues, not_before=self.now - DAY, not_after=self.now + 29 * DAY
        )
        return pair("node", cert)

    # what is true

    def reach(self, a: Host, b: Host) -> bool:
        """Whether two reach each other."""
        return a.up and b.up and not a.cut and not b.cut

    def failing(self) -> str:
        """Who reaches somebody and does not connect; "" where all do."""
        hosts = list(self.hosts.values())
        for n, a in enumerate(hosts):
            for b in hosts[n + 1 :]:
                good = root_of(a.loaded[1]) in b.loaded[0] and root_of(b.loaded[1]) in a.loaded[0]
                if self.reach(a, b) and not good:
                    return f"{a.name} and {b.name}"
        for host in hosts:
            good = root_of(host.loaded[1]) in self.client_trusts and self.client_shows in host.loaded[0]
            if host.up and not good:
                return f"{host.name} and the client"
        return ""

    # what a host knows

    def policy(self, host: Host) -> Policy:
        """Every host has the same, but for its name."""
        peers = () if self.mutation.members else host.listed
        rule = RotationRule(peers=peers, soak=timedelta(minutes=2), outside_clients=not self.mutation.words)
        return replace(policy(want("ca"), want()), host=host.name, rotation=rule)

    def snapshot(self, host: Host) -> Snapshot:
        """What the host observes."""
        cas, pairs = bundle_of(host.bundle), by(host.disk, host.bundle)
        was = by(host.loaded[1], host.loaded[0])
        listed = tuple(x for x in host.listed if not self.mutation.silence or self.reach(host, self.at(x)))
        live = len(listed) + 1 if self.mutation.completeness or self.mutation.silence else len(self.hosts)
        members = Members(
            source="peers",
            listed=() if self.mutation.members else listed,
            live=None if self.mutation.members else live,
            own=host.address,
            looks=tuple(self.dated(k) for k in host.looks),
        )
        answer = served(
            was.leaf.fingerprint if was.leaf else "",
            at=self.now - timedelta(milliseconds=1),
            client_cas=tuple(CAS[name].subject_digest for name in host.loaded[0]),
        )
        made = snapshot(cas, pairs)
        made = replace(
            made,
            issued=frozenset({p.leaf.fingerprint for p in (host.disk,) if p.leaf}),
            staged=tuple(replace(s, pair=self.judged(host, s.pair)) for s in host.staged),
            generations=tuple(replace(g, pair=by(g.pair, host.bundle)) for g in host.generations),
            processes=(process(),) if host.up else (),
            processes_at=self.now,
            served=(answer,) if host.up else (),
            members=members,
            words=self.words(host),
            requests=host.requests,
            attempts=tuple(
                a for a in host.attempts if a.subject == "ca" and not (self.mutation.resumed and a.kind == "command")
            ),
            authorities=(Authority("house", "step"),),
        )
        gone = [n for n in ("node",) if root_of(host.disk) in host.loaded[0] and root_of(host.disk) not in host.bundle]
        old = ["node"] if root_of(host.loaded[1]) not in host.bundle and host.loaded[1].leaf != host.disk.leaf else []
        digest = "loaded" if (host.bundle, host.disk.leaf) != (host.loaded[0], host.loaded[1].leaf) else material(made)
        known = host.bundle if self.mutation.overlap else host.loaded[0]
        kept = Loaded(digest, (replace(bundle_of(known), key=None), replace(was, key=None)), tuple(gone), tuple(old))
        return replace(made, loaded=(kept,) if host.up else ())

    def words(self, host: Host) -> tuple[Word, ...]:
        """What people said on a host, and what the mutation says."""
        stops = [w for w in host.words if w.kind == "abort"] if self.mutation.aborted else []
        return (*host.words, *(replace(w, kind="clients-present", root="old") for w in stops))

    def dated(self, look: Look) -> Look:
        """A look, as old as it is, or as the mutation says."""
        fresh = self.mutation.freshness and look.outcome == "accepted"
        return replace(look, at=self.now - 2 * SECOND) if fresh else look

    def judged(self, host: Host, pair: Pair) -> Pair:
        """A staged pair as the bundle verifies it; a bundle is what it is."""
        return pair if pair.name.is_bundle else by(pair, host.bundle)

    def at(self, address: str) -> Host:
        """The host of an address."""
        return self.hosts[address.partition(":")[0]]

    # what happens

    def turn(self, host: Host, rounds: int) -> None:
        """A host decides, and does what it planned, again and again until it is quiet or interrupted."""
        for _ in range(rounds):
            plan = decide(self.policy(host), self.snapshot(host), self.now)
            if not sum(self.act(host, action) for action in plan.actions):
                return

    def act(self, host: Host, action: Action) -> bool:
        """Carry out one action; False: it does not matter here."""
        match action:
            case LookAt():
                host.looks = newest(host.looks, self.look(host, action))
            case Install(stem="node"):
                self.swap(host, host.staged[0].pair)
                host.staged = ()
            case Install():
                host.bundle = tuple(c.spki for c in self.bundle_staged(host))
                host.staged = ()
            case RejectStaged():
                host.attempts = (*host.attempts, Attempt("install", action.stem, self.now, "refused"))
                host.staged = ()
            case Prune():
                gone = {ca.spki for ca in action.removed}
                host.staged = (Staged(bundle_of(tuple(c for c in host.bundle if c not in gone)), self.now, asked=True),)
            case Rollback():
                kept = next(g for g in host.generations if g.number == action.generation)
                self.swap(host, kept.pair)
                host.requests = ()
            case RejectCommand():
                host.requests = ()
            case Reload():
                host.loaded = (host.bundle, host.disk)
            case _:
                return False
        self.told.append(f"{host.name}: {type(action).__name__} {getattr(action, 'address', '')}")
        return True

    def bundle_staged(self, host: Host) -> tuple[Leaf, ...]:
        """The CAs of the staged bundle."""
        cert = host.staged[0].pair.cert
        return cert.certificates if cert else ()

    def swap(self, host: Host, new: Pair) -> None:
        """Another pair goes live; what stood there is kept."""
        number = max((g.number for g in host.generations), default=0) + 1
        host.generations = (*host.generations, Generation(number, host.disk, self.now))
        host.disk = new

    def look(self, host: Host, action: LookAt) -> Look:
        """What a member answers."""
        other = host if action.address == OWN else self.at(action.address)
        pairs = (host.disk, *(s.pair for s in host.staged), *(g.pair for g in host.generations))
        offered = next((p for p in pairs if p.leaf and p.leaf.fingerprint == action.fingerprint), None)
        made = Look(address=action.address, at=self.now, stem="node", offered=action.fingerprint, outcome="silent")
        if offered is None:
            return replace(made, reason="the pair was set aside")
        if not other.up or (other is not host and not self.reach(host, other)):
            return replace(made, reason="timed out")
        shown = other.loaded[1]
        good = root_of(offered) in other.loaded[0]
        return replace(
            made,
            outcome="accepted" if good else "refused",
            reason="" if good else "unknown certificate authority",
            served=shown.leaf.fingerprint if shown.leaf else "",
            anchors=(root_of(shown),) if root_of(shown) in host.bundle else (),
        )
