"""The CA is replaced by the agents: people bring the new root, and say two words about clients outside.

When the root arrives where, when the CA switches and who is away meanwhile is drawn by lot.
"""

import random
import threading
from collections.abc import Callable, Iterable
from functools import partial

from certagent.x509 import parse_certificates
from tests.making import make_ca
from tests.streams.fleet import Fleet
from tests.streams.host import Member
from tests.streams.rows import LONG_ENOUGH, Roots, Row, begun, roots, served, state
from tests.waiting import wait_until

SPAN = 6.0  # seconds in which everything begins
SHORT = 3.0  # seconds for which somebody is away
Act = Callable[[], None]


def fingerprints(member: Member, name: str) -> set[str]:
    return {c.fingerprint for c in parse_certificates((member.certs / name).read_bytes())}


def said(member: Member, *words: str) -> str:
    """What a command answers on that host, which does what it is told."""
    done = member.host.run(*words)
    assert done.returncode == 0, f"{member.name}: {words}: {done.stdout}{done.stderr}"
    return done.stdout


def heard(member: Member, answers: list[str], *words: str) -> bool:
    """Whether a command is taken now: an agent that has not seen the new root yet knows of no rotation."""
    done = member.host.run(*words)
    answers.append(f"{member.name}: {words}: {done.stdout}{done.stderr}")
    return done.returncode == 0


def needless(member: Member, root: str) -> bool:
    """Whether its agent has seen that nobody needs any other root in the bundle."""
    answer = member.ask("bundle-show", bundle="ca", certs_dir="")
    assert answer["ok"], answer
    return not any(ca["needed_by"] or ca["unseen"] for ca in answer["cas"] if ca["fingerprint"] != root)


class Rotation:
    """One rotation of a running fleet."""

    def __init__(self, fleet: Fleet, chance: random.Random, made: Roots) -> None:
        self.fleet, self.chance, self.made = fleet, chance, made
        self.root = fleet.base / "new-root.pem"
        self.root.write_bytes(made.new.cert)
        self.root.chmod(0o644)

    def brought(self, member: Member) -> None:
        """A person brings the new root: to the agent, or into the file of pinned roots."""
        member.configure(self.fleet.pki, self.made.new.cert)  # the old one stays in the bundle
        if member.agent is not None and self.chance.random() < 0.5:
            said(member, "bundle", "add", str(self.root), "--wait", "60")

    def switched(self) -> None:
        """The CA answers by its new key."""
        self.fleet.pki.answers(self.made.new)

    def asked(self, member: Member) -> None:
        """A renewal is asked for; what comes of it may have to wait."""
        if member.agent is not None:
            member.ask("renew", file="node")

    def cut(self, member: Member) -> None:
        """Nobody reaches it for a while."""
        self.fleet.network.cut([member.name])
        threading.Event().wait(self.chance.uniform(0.0, SHORT))  # how long is drawn by lot: no condition ends it
        self.fleet.network.join([member.name])

    def off(self, member: Member) -> None:
        """It is switched off for a while, and gets what it missed before its server starts."""
        self.fleet.off(member.name)
        threading.Event().wait(self.chance.uniform(0.0, SHORT))
        member.run(self.fleet.environ, "recover", "--converge")
        self.fleet.on(member.name)

    def clients_trust(self) -> None:
        """Clients outside have both roots, and a person says so on every host."""
        self.fleet.outside(bundle=self.made.both)
        self.told("trust", self.fleet.members.values())

    def told(self, word: str, members: Iterable[Member]) -> None:
        """What a person says about clients of other hosts, where anybody waits for it."""
        for member in members if self.fleet.words else ():
            answers: list[str] = []
            wait_until(partial(heard, member, answers, "rotation", "clients", word), lambda a=answers: a[-1])

    def schedule(self, *more: Act) -> list[Act]:
        """Everything that has to happen, and who is away meanwhile, in some order."""
        members = list(self.fleet.members.values())
        acts: list[Act] = [self.switched, *(partial(self.brought, m) for m in members), *more]
        acts += [partial(self.asked, m) for m in members for _ in range(2)]
        acts += [partial(self.chance.choice([self.cut, self.off]), self.chance.choice(members)) for _ in range(2)]
        self.chance.shuffle(acts)
        return acts

    def run(self, *more: Act) -> None:
        """Until every leaf is of the new root, and then until the old one is gone."""
        self.fleet.outside(bundle=self.made.both)
        for act in self.schedule(*more):
            threading.Event().wait(self.chance.uniform(0.0, SPAN / 12))
            act()
        new = parse_certificates(self.made.new.cert)[0].fingerprint
        for member in self.fleet.members.values():
            wait_until(lambda m=member: new in fingerprints(m, "ca.crt"), lambda m=member: state(m))
            member.ask("renew", file="node", force=True)  # what was refused before the root had come
        self.clients_trust()
        self.finish()

    def finish(self) -> None:
        """Nothing is missing any more: the leaves are renewed; clients get theirs; the old root goes."""
        members = list(self.fleet.members.values())
        new = parse_certificates(self.made.new.cert)[0]
        for stem in ("node", "client.root"):
            for member in members:
                self._renewed(member, stem, new.subject)
        served(members)
        self.fleet.outside(self.made.new)
        self.fleet.flow()
        self.told("present", members)
        for member in members:
            wait_until(partial(needless, member, new.fingerprint), lambda m=member: said(m, "bundle", "show"))
            told = said(member, "bundle", "prune", "--wait", "60")
            assert fingerprints(member, "ca.crt") == {new.fingerprint}, (
                told + said(member, "bundle", "show") + state(member)
            )
        self.fleet.outside(bundle=self.made.new.cert)
        served(members)
        self.fleet.flow(LONG_ENOUGH)

    def _renewed(self, member: Member, stem: str, issuer: str) -> None:
        """Its certificate is of the new CA; where it is of the old one, a renewal is asked for."""

        def done() -> bool:
            leaf = parse_certificates((member.certs / f"{stem}.crt").read_bytes())[0]
            return leaf.issuer == issuer

        if not done():
            member.ask("renew", file=stem, force=True)
        wait_until(done, lambda: state(member))


def rotation(fleet: Fleet, chance: random.Random) -> None:
    """A CA rotation in a random schedule: partitions, hosts that are off, words and roots at any moment."""
    fleet.know()
    made = roots()
    begun(fleet, made)
    Rotation(fleet, chance, made).run()


def rotations(fleet: Fleet, chance: random.Random) -> None:
    """Three of them, one after the other, each in a schedule of its own."""
    fleet.know()
    made = roots()
    begun(fleet, made)
    for turn in range(3):
        Rotation(fleet, chance, made).run()
        made = Roots(made.new, make_ca(f"root {turn}"))


def dead_member(fleet: Fleet, chance: random.Random) -> None:
    """A host is off: no leaf of the new root goes live anywhere, until it is back."""
    fleet.know()
    made = roots()
    members = begun(fleet, made)
    one, turn = chance.choice(members), Rotation(fleet, chance, made)
    fleet.off(one.name)
    rest = [m for m in members if m is not one]
    for member in rest:
        turn.brought(member)
    fleet.outside(bundle=made.both)
    turn.told("trust", rest)
    turn.switched()
    before = [fingerprints(m, "node.crt") for m in rest]
    for member in rest:
        turn.asked(member)
    for member in rest:
        wait_until(lambda m=member: "peer.unseen" in m.host.codes(), lambda m=member: state(m))
    fleet.flow(LONG_ENOUGH)
    assert before == [fingerprints(m, "node.crt") for m in rest]
    turn.brought(one)
    fleet.on(one.name)
    turn.told("trust", [one])
    turn.finish()


# They need `certagent rotation`, and that a leaf of another root waits for every listed member.
ROTATIONS = [Row(run=run, sound=False) for run in (rotation, rotations, dead_member)]
