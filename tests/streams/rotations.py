"""The CA is replaced by the agents: people bring the new root, and say two words about clients outside.

When the root arrives where, when the CA switches and who is away meanwhile is drawn by lot.
"""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from cryptography import x509 as pyca
from cryptography.exceptions import InvalidSignature

from certagent.x509 import parse_certificates
from tests.making import Ca, make_ca
from tests.streams.fleet import Fleet
from tests.streams.host import Member, awaited
from tests.streams.rows import LONG_ENOUGH, Roots, begun, returned, roots, served, state

SPAN = 6.0  # seconds in which everything begins
SHORT = 3.0  # seconds for which somebody is away
WAIT = ("--wait", "240")
SAME = "O=Cockroach CA"  # which `cockroach cert create-ca` gives every CA
Act = Callable[[], None]


def fingerprints(member: Member, name: str) -> set[str]:
    return {c.fingerprint for c in parse_certificates((member.certs / name).read_bytes())}


def said(member: Member, *words: str) -> str:
    """What a command answers on that host, which does what it is told."""
    done = member.host.run(*words, timeout=600)
    assert done.returncode == 0, f"{member.name}: {words}: {done.stdout}{done.stderr}"
    return done.stdout


def heard(member: Member, answers: list[str], *words: str) -> bool:
    """Whether a command is taken now: an agent that has not seen the new root yet knows of no rotation."""
    done = member.host.run(*words)
    answers.append(f"{member.name}: {words}: {done.stdout}{done.stderr}")
    return done.returncode == 0


def signed_by(member: Member, stem: str, ca: Ca) -> bool:
    """Whether that CA signed the live certificate: two CAs may have one name."""
    leaf = pyca.load_pem_x509_certificate((member.certs / f"{stem}.crt").read_bytes())
    try:
        leaf.verify_directly_issued_by(pyca.load_pem_x509_certificate(ca.cert))
    except (InvalidSignature, ValueError):
        return False
    return True


class Rotation:
    """One rotation of a running fleet.

    `bundle`: its own under split CA. `stems`: the pairs that it verifies.
    """

    def __init__(
        self,
        fleet: Fleet,
        chance: random.Random,
        made: Roots,
        bundle: str = "ca",
        stems: Sequence[str] = ("node", "client.root"),
    ) -> None:
        self.fleet, self.chance, self.made, self.bundle, self.stems = fleet, chance, made, bundle, stems
        self.where = () if bundle == "ca" else ("--bundle", bundle)
        self.root = fleet.base / "new-root.pem"
        self.root.write_bytes(made.new.cert)
        self.root.chmod(0o644)

    def brought(self, member: Member) -> None:
        """A person brings the new root: to the agent, or into the file of pinned roots."""
        self.fleet.configure(member, self.made.new.cert)  # the old one stays in the bundle
        if member.agent is not None and (not self.fleet.pinned or self.chance.random() < 0.5):
            said(member, "bundle", "add", str(self.root), *self.where, *WAIT)

    def switched(self) -> None:
        """The CA answers by its new key."""
        self.fleet.pki.answers(self.made.new)

    def asked(self, member: Member) -> None:
        """A renewal is asked for; what comes of it may have to wait."""
        if member.agent is not None:
            member.ask("renew", file=self.stems[0])

    def cut(self, member: Member) -> None:
        """Nobody reaches it for a while."""
        self.fleet.network.cut([member.name])
        threading.Event().wait(self.chance.uniform(0.0, SHORT))  # how long is drawn by lot: no condition ends it
        self.fleet.network.join([member.name])

    def off(self, member: Member) -> None:
        """It is switched off for a while, and gets what it missed before its server starts."""
        self.fleet.off(member.name)
        threading.Event().wait(self.chance.uniform(0.0, SHORT))
        returned(self.fleet, self.chance, member)

    def clients_verify(self, bundle: bytes) -> None:
        """What clients outside verify servers by, where this rotation changes that."""
        if self.bundle == "ca":
            self.fleet.outside(bundle=bundle)

    def told(self, word: str, members: Iterable[Member]) -> None:
        """What a person says about clients of other hosts, where anybody waits for it."""
        for member in members if self.fleet.words else ():
            answers: list[str] = []
            words = ("rotation", "clients", word, *self.where)
            awaited(partial(heard, member, answers, *words), lambda a=answers: a[-1])

    def schedule(self) -> list[Act]:
        """Everything that has to happen, and who is away meanwhile, in some order."""
        members = list(self.fleet.members.values())
        acts: list[Act] = [self.switched, *(partial(self.brought, m) for m in members)]
        acts += [partial(self.asked, m) for m in members for _ in range(2)]
        acts += [partial(self.chance.choice([self.cut, self.off]), self.chance.choice(members)) for _ in range(2)]
        self.chance.shuffle(acts)
        return acts

    def run(self) -> None:
        """Until every leaf is of the new root, and then until the old one is gone."""
        self.clients_verify(self.made.both)
        for act in self.schedule():
            threading.Event().wait(self.chance.uniform(0.0, SPAN / 12))
            act()
        self.trusted()
        self.told("trust", self.fleet.members.values())
        self.finish()

    def begin(self, members: Sequence[Member]) -> None:
        """These hosts get the new root, the CA switches, renewals are asked for, clients outside trust it."""
        self.clients_verify(self.made.both)
        for member in members:
            self.brought(member)
        self.switched()
        for member in members:
            self.asked(member)
        self.told("trust", members)

    def trusted(self) -> None:
        """Every host has the new root; what was refused before it came is asked for once more."""
        new = parse_certificates(self.made.new.cert)[0].fingerprint
        for member in self.fleet.members.values():
            awaited(
                lambda m=member: new in fingerprints(m, f"{self.bundle}.crt"),
                lambda m=member: state(m),
            )
            member.ask("renew", file=self.stems[0], force=True)

    def finish(self, among: Iterable[Member] | None = None) -> None:
        """Nothing is missing any more: the leaves are renewed; clients get theirs; the old root goes.

        `among`: the hosts that are left of the cluster.
        """
        members = list(self.fleet.members.values() if among is None else among)
        self.renewed(members)
        if "client.root" in self.stems:
            self.fleet.outside(self.made.new)
        self.fleet.flow()
        self.told("present", members)
        self.pruned(members)
        self.clients_verify(self.made.new.cert)
        served(members)
        self.fleet.flow(LONG_ENOUGH)

    def renewed(self, members: Iterable[Member]) -> None:
        """Every certificate is of the new CA; where one is of the old one, a renewal is asked for."""
        for stem in self.stems:
            for member in members:
                if not signed_by(member, stem, self.made.new):
                    member.ask("renew", file=stem, force=True)
                awaited(partial(signed_by, member, stem, self.made.new), lambda m=member: state(m))
        served(members)

    def pruned(self, members: Iterable[Member]) -> None:
        """A person removes what nobody needs, as soon as the agent has seen that nobody does."""
        new = {parse_certificates(self.made.new.cert)[0].fingerprint}
        for member in members:
            awaited(partial(self.needless, member), lambda m=member: said(m, "bundle", "show", *self.where))
            answer = said(member, "bundle", "prune", *self.where, *WAIT)
            assert fingerprints(member, f"{self.bundle}.crt") == new, answer + state(member)

    def needless(self, member: Member) -> bool:
        """Whether its agent has seen that nobody needs any other root in the bundle."""
        answer = member.ask("bundle-show", bundle=self.bundle, certs_dir="")
        assert answer["ok"], answer
        new = parse_certificates(self.made.new.cert)[0].fingerprint
        return not any(ca["needed_by"] or ca["unseen"] for ca in answer["cas"] if ca["fingerprint"] != new)


def rotation(fleet: Fleet, chance: random.Random) -> None:
    """A CA rotation in a random schedule: partitions, hosts that are off, words and roots at any moment."""
    fleet.know()
    made = roots(chance.choice(["", SAME]))
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
