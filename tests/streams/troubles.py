"""Rotations by the agents in which something stands in the way: each waits for it, and goes on when it is gone."""

import random
from collections.abc import Iterable, Sequence
from functools import partial

from tests.making import make_ca
from tests.streams.fleet import Fleet
from tests.streams.host import SQL, Member, awaited
from tests.streams.rotations import SAME, WAIT, Rotation, fingerprints, rotation, rotations, said
from tests.streams.rows import LONG_ENOUGH, Roots, Row, begun, returned, roots, served, split, state


def waiting(fleet: Fleet, members: Sequence[Member], code: str) -> None:
    """Each of these says why it waits, and none of them has another leaf meanwhile."""
    before = [fingerprints(m, "node.crt") for m in members]
    for member in members:
        awaited(lambda m=member: code in m.host.codes(), lambda m=member: state(m))
    fleet.flow(LONG_ENOUGH, among=[m.name for m in members])
    assert before == [fingerprints(m, "node.crt") for m in members]


def started(fleet: Fleet, chance: random.Random, subject: str = "") -> tuple[Rotation, list[Member]]:
    """Every host lists every host, and has certificates of the old root."""
    fleet.know()
    made = roots(subject)
    return Rotation(fleet, chance, made), begun(fleet, made)


def others(members: Iterable[Member], one: Member) -> list[Member]:
    return [m for m in members if m is not one]


def known(fleet: Fleet, turn: Rotation, members: Sequence[Member]) -> None:
    """From now on the cluster has these members: their configurations list each other, their servers count them."""
    fleet.know(among=members)
    for member in members:
        fleet.configure(member, turn.made.new.cert)


def refused(fleet: Fleet, member: Member, by: str, answers: list[str]) -> bool:
    """Whether a host whose server must not start yet has seen by now that a member refuses its certificate."""
    told = member.run(fleet.environ, "recover", "--converge", "--wait", "5")
    assert told.returncode == 2, told
    answers.append(told.stdout + told.stderr)
    return f"{by} refuses" in told.stderr


def dead_member(fleet: Fleet, chance: random.Random) -> None:
    """A host is off: no leaf of the new root goes live anywhere, until it is back."""
    turn, members = started(fleet, chance)
    one = chance.choice(members)
    fleet.off(one.name)
    rest = others(members, one)
    turn.begin(rest)
    waiting(fleet, rest, "peer.unseen")
    turn.brought(one)
    returned(fleet, chance, one)
    turn.told("trust", [one])
    turn.finish()


def without_one(fleet: Fleet, chance: random.Random) -> tuple[Rotation, Sequence[Member], Member, list[Member]]:
    """A rotation that waits for a host that is off: it, the members, that host, and the others."""
    turn, members = started(fleet, chance)
    one = chance.choice(members[1:])  # the client inside is on the first one
    fleet.off(one.name)
    rest = others(members, one)
    turn.begin(rest)
    waiting(fleet, rest, "peer.unseen")
    return turn, members, one, rest


def member_forgotten(fleet: Fleet, chance: random.Random) -> None:
    """A host is off and is taken out of the list; the others finish without it. It comes back by `recover --converge`.

    It has the configuration of the others then, and its files of before.
    """
    turn, members, one, rest = without_one(fleet, chance)
    known(fleet, turn, rest)
    turn.finish(rest)
    known(fleet, turn, members)
    returned(fleet, chance, one)
    turn.renewed([one])
    turn.told("present", [one])
    turn.pruned([one])
    fleet.flow(LONG_ENOUGH)


def member_forced(fleet: Fleet, chance: random.Random) -> None:
    """A host is off, and a person says not to wait for it. The old root stays until it is back with what it needs."""
    turn, _, one, rest = without_one(fleet, chance)
    for member in rest:
        said(member, "rotation", "force", "ca", f"{one.address}:{SQL}")
    turn.renewed(rest)
    turn.told("present", rest)
    for member in rest:
        done = member.host.run("bundle", "prune", *WAIT)
        assert (done.returncode != 0, one.address in done.stdout + done.stderr) == (True, True), done
    turn.brought(one)
    returned(fleet, chance, one)
    turn.told("trust", [one])
    turn.finish()


def partition(fleet: Fleet, chance: random.Random) -> None:
    """Two hosts reach each other alone, and so do the two others: both sides wait, and go on together."""
    fleet.add()
    turn, members = started(fleet, chance)
    side = chance.sample(members, 2)
    rest = [m for m in members if m not in side]
    fleet.network.part([m.name for m in side])
    turn.begin(members)
    for half in (side, rest):
        waiting(fleet, half, "peer.unseen")
    fleet.network.join([m.name for m in side])
    turn.finish()


def deaf_member(fleet: Fleet, chance: random.Random) -> None:
    """Both roots have one name, and a server ignores SIGHUP: everybody waits until a person restarts it."""
    fleet.know()
    deaf = chance.choice(list(fleet.members.values()))
    deaf.quirks["STANDIN_DEAF"] = "1"
    turn, members = started(fleet, chance, SAME)
    turn.begin(members)
    waiting(fleet, others(members, deaf), "peer.refuses")
    del deaf.quirks["STANDIN_DEAF"]
    fleet.off(deaf.name, agent=False)
    fleet.on(deaf.name, agent=False)
    turn.finish()


def joiner(fleet: Fleet, chance: random.Random) -> None:
    """An empty host joins while one member lacks the new root, which would refuse it: its server must not start yet."""
    new = fleet.members.popitem()[1]
    turn, members = started(fleet, chance)
    late = chance.choice(members)
    rest = others(members, late)
    turn.clients_verify(turn.made.both)
    for member in rest:
        turn.brought(member)
    turn.switched()
    fleet.members[new.name] = new
    new.wiped()
    fleet.know()
    new.configure(fleet.pki, turn.made.both)
    answers: list[str] = []
    awaited(partial(refused, fleet, new, f"{late.address}:{SQL}", answers), lambda: answers[-1])
    turn.brought(late)
    turn.told("trust", members)
    returned(fleet, chance, new)
    known(fleet, turn, [*members, new])
    turn.told("trust", [new])
    turn.finish()


def split_ca(fleet: Fleet, chance: random.Random) -> None:
    """Two CAs: first that of clients is replaced, then that of servers, each in a rotation of its own."""
    fleet.know()
    clients = roots()
    members = split(fleet, clients.old, servers := make_ca("CA of servers"))
    turn = Rotation(fleet, chance, clients, "ca-client", ("client.node", "client.root"))
    turn.begin(members)
    turn.finish()
    fleet.pki.answers(servers)
    for member in members:
        member.options |= {"authority": '"pki"', "client_authority": '"hands"'}
        member.configure(fleet.pki, servers.cert)
    turn = Rotation(fleet, chance, Roots(servers, make_ca("new CA of servers")), stems=("node",))
    turn.begin(members)
    turn.finish()


def phases(member: Member) -> list[str]:
    """Each rotation that its agent shows, with what it waits for."""
    told = member.host.json("rotation", "status")
    return [f"{r['phase']}, {r['waits_for']}" for d in told["certs_dirs"] for r in d["rotations"]]


def by_verbs(fleet: Fleet, chance: random.Random) -> None:
    """As docs/rotation.md says: commands alone, and no configuration is changed."""
    fleet.pinned = False
    turn, members = started(fleet, chance)
    assert [phases(m) for m in members] == [[]] * len(members)
    turn.switched()
    for member in chance.sample(members, len(members)):
        said(member, "bundle", "add", str(turn.root), *WAIT)
    for member in members:
        member.ask("renew", file="node", force=True)
        awaited(lambda m=member: "trusted-by-all, person" in phases(m), lambda m=member: f"{phases(m)} {state(m)}")
    turn.clients_verify(turn.made.both)
    turn.told("trust", members)
    turn.renewed(members)
    for member in members:
        awaited(lambda m=member: "leaves-everywhere, person" in phases(m), lambda m=member: f"{phases(m)} {state(m)}")
    fleet.outside(turn.made.new)
    turn.told("present", members)
    for member in members:
        awaited(lambda m=member: "clients-done, person" in phases(m), lambda m=member: f"{phases(m)} {state(m)}")
    turn.pruned(members)
    turn.clients_verify(turn.made.new.cert)
    for member in members:
        awaited(lambda m=member: phases(m) == [], lambda m=member: f"{phases(m)} {state(m)}")
    served(members)
    fleet.flow(LONG_ENOUGH)


ROTATIONS = [
    Row(run=rotation),
    Row(run=rotations),
    Row(run=by_verbs),
    Row(run=dead_member),
    Row(run=member_forgotten, quick=True),
    Row(run=member_forced),
    Row(run=partition),
    Row(run=deaf_member),
    Row(run=joiner),
    Row(run=split_ca),
]
