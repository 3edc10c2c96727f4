"""Hosts with the real core in a network where everything may happen: no order of events cuts two of them off.

Each guard in turn is left out by what the hosts are told; then some order of events does. Each walk has a seed, which
is shown where it fails.
"""

from datetime import timedelta
from random import Random

import pytest

from certagent.core.facts import Request, Staged, Word
from tests.core.rotation.network import PAUSES, Host, Mutation, Network, bundle_of, root_of

WALKS, STEPS = 60, 120
LONG = 300
EVERYWHERE = 2


def _bring(_: Network, host: Host) -> None:
    if "new" not in host.bundle:
        host.bundle = ("new", *host.bundle)


def _switch(net: Network, _: Host) -> None:
    net.issues = "new"


def _answer(net: Network, host: Host) -> None:
    if not host.staged and host.up:
        host.staged = (Staged(net.pair(), net.now, asked=True),)


def _turn(net: Network, host: Host) -> None:
    if host.up:
        net.turn(host, rounds=net.random.randrange(1, 6))


def _down(_: Network, host: Host) -> None:
    host.up = False


def _up(_: Network, host: Host) -> None:
    if not host.up:
        host.up, host.loaded = True, (host.bundle, host.disk)


def _cut(_: Network, host: Host) -> None:
    host.cut = not host.cut


def _heal(_: Network, host: Host) -> None:
    host.cut = False


def _join(net: Network, _: Host) -> None:
    """A host joins with the roots that somebody found for it; whatever they are, it connects to everybody then."""
    pinned = net.random.choice([("new", "old"), ("old",)])
    trusted = all(net.issues in h.loaded[0] for h in net.hosts.values()) and net.issues in net.client_trusts
    shown = all(root_of(h.loaded[1]) in pinned for h in net.hosts.values())
    if "h3" in net.hosts or not trusted or not shown or net.client_shows not in pinned:
        return
    made = net.add("h3", pinned)
    made.listed = tuple(h.address for h in net.hosts.values() if h is not made)


def _list(net: Network, host: Host) -> None:
    host.listed = tuple(h.address for h in net.hosts.values() if h is not host)


def _client(net: Network, _: Host) -> None:
    if "new" not in net.client_trusts:
        net.client_trusts.add("new")
    elif all("new" in h.loaded[0] for h in net.hosts.values()):
        net.client_shows = "new"


def _say(net: Network, host: Host) -> None:
    """A person says what is so, on one host."""
    said = {w.kind for w in host.words}
    if "new" in net.client_trusts and "clients-trust" not in said:
        host.words += (Word(kind="clients-trust", bundle="ca", root="new", at=net.now),)
    elif net.client_shows == "new" and "clients-present" not in said:
        host.words += (Word(kind="clients-present", bundle="ca", root="new", at=net.now),)


def _prune(net: Network, host: Host) -> None:
    """A person prunes; the guard alone decides whether that is done. Nobody goes back in the same minutes."""
    if set(host.bundle) != {"old", "new"} or not host.up or host.staged:
        return
    if net.mutation.prune:
        host.bundle, host.loaded = ("new",), (("new",), host.disk)
        return
    host.staged = (Staged(bundle_of(("new",)), net.now, asked=True),)
    for _ in range(4):
        net.turn(host, rounds=5)
        net.now += timedelta(seconds=2)
    host.staged = ()
    net.now += timedelta(seconds=LONG)


def _replace(net: Network, host: Host) -> None:
    """Another tool puts some ca.crt there; while it is not loaded somebody may put back what is."""
    if not host.up or host.staged:
        return
    aborted = any(w.kind == "abort" for w in host.words)
    host.bundle = net.random.choice([("new", "old"), ("new",), ("new", "old") if aborted else ("old",)])
    for _ in range(4):
        net.turn(host, rounds=5)
        net.now += timedelta(seconds=2)
    host.bundle = host.loaded[0]
    net.now += timedelta(seconds=LONG)


def _back(net: Network, host: Host) -> None:
    """An operator rolls back."""
    host.requests = (Request("rollback", "node", net.now),)
    for _ in range(4):
        _turn(net, host)
        net.now += timedelta(seconds=2)
    host.requests = ()


def _abort(net: Network, host: Host) -> None:
    """A person aborts on one host, or takes it back."""
    if any(w.kind == "abort" for w in host.words):
        host.words = tuple(w for w in host.words if w.kind != "abort")
    elif net.random.random() < 0.3:
        host.words += (Word(kind="abort", bundle="ca", root="new", at=net.now),)


EVENTS = {
    _bring: 3, _switch: 1, _answer: 4, _turn: 30, _down: 0.7, _up: 4, _cut: 0.5, _heal: 3, _join: 0.5, _list: 0.3,
    _client: 2, _say: 4, _prune: 2, _replace: 1, _back: 1, _abort: 0.2,
}  # fmt: skip


def begun(net: Network, far: int) -> None:
    """A rotation that is under way: 1: every bundle has the new root, 2: every host serves it, too."""
    for host in net.hosts.values() if far else ():
        _bring(net, host)
        host.loaded = (host.bundle, host.disk)
    if far:
        net.issues, net.client_trusts = "new", {"old", "new"}
    for host in net.hosts.values() if far == EVERYWHERE else ():
        net.swap(host, net.pair())
        host.loaded = (host.bundle, host.disk)


def walk(seed: int, mutation: Mutation) -> tuple[str, Network]:
    """Who was cut off in a walk, "" where nobody was; and how the network stands in the end."""
    random = Random(seed)
    net = Network(random=random, mutation=mutation)
    begun(net, seed % 3)
    for event in random.choices([*EVENTS], [*EVENTS.values()], k=STEPS):
        host = net.hosts[random.choice([*net.hosts])]
        net.told.append(f"{event.__name__} {host.name}")
        event(net, host)
        net.now += timedelta(seconds=random.choice(PAUSES))
        if found := net.failing():
            return found, net
    return "", net


@pytest.mark.parametrize("seed", range(WALKS))
def test_no_order_of_events_cuts_anybody_off(seed: int) -> None:
    """Crashes, partitions, joins, returns, rollbacks, aborts, prunes, a CA that switches: every connection works."""
    found, net = walk(seed, Mutation())
    assert not found, (seed, found, net.told)


LEFT_OUT = {
    "the members": Mutation(members=True),
    "that the list is complete": Mutation(completeness=True),
    "the word about clients": Mutation(words=True),
    "that silence is no": Mutation(silence=True),
    "what the prune waits for": Mutation(prune=True),
    "that a loaded root may be needed": Mutation(overlap=True),
}


@pytest.mark.parametrize("mutation", LEFT_OUT.values(), ids=LEFT_OUT)
def test_order_of_events_that_cuts_off_is_found_without_a_guard(mutation: Mutation) -> None:
    """The same walks find somebody who is cut off, once a guard is left out."""
    assert any(walk(seed, mutation)[0] for seed in range(400))


@pytest.mark.parametrize("seed", range(5))
def test_rotation_ends_by_itself(seed: int) -> None:
    """After any walk: with everybody up, the list complete and the words said, it ends with the new root alone."""
    _, net = walk(seed, Mutation())
    net.client_trusts.add("new")
    net.issues = "new"
    for host in net.hosts.values():
        _up(net, host)
        host.cut, host.requests = False, ()
        host.words = tuple(w for w in host.words if w.kind != "abort")
        _list(net, host)
        _bring(net, host)
        if any(s.pair.leaf and s.pair.leaf.issuer == "old" for s in host.staged):
            host.staged = ()
    for _ in range(40):
        for host in net.hosts.values():
            _say(net, host)
            if root_of(host.disk) == "old":
                _answer(net, host)
            for _ in range(4):
                net.turn(host, rounds=6)
                net.now += timedelta(seconds=40)
        _client(net, next(iter(net.hosts.values())))
        assert not net.failing(), net.told
    assert all(root_of(h.loaded[1]) == "new" for h in net.hosts.values()), net.told[-80:]
    for _ in range(12):
        for host in net.hosts.values():
            net.turn(host, rounds=6)
            net.now += timedelta(seconds=20)
        assert not net.failing(), net.told
    assert all(h.loaded[0] == ("new",) for h in net.hosts.values()), [
        (h.name, h.bundle, h.loaded[0]) for h in net.hosts.values()
    ]


def everywhere_new(mutation: Mutation | None = None) -> tuple[Network, Host, Host, Host]:
    """Every host serves the new root, has both in its bundle, and the old pair as a generation."""
    net = Network(random=Random(1), mutation=mutation or Mutation())
    begun(net, EVERYWHERE)
    net.client_shows = "new"
    for host in net.hosts.values():
        _say(net, host)
        settle(net, host)
    a, b, c = net.hosts.values()
    return net, a, b, c


def settle(net: Network, *hosts: Host, seconds: int = 40) -> None:
    """Enough rounds for every look."""
    for _ in range(6):
        for host in hosts:
            net.turn(host, rounds=6)
        net.now += timedelta(seconds=seconds)


@pytest.mark.parametrize("mutation", [Mutation(), Mutation(freshness=True)], ids=["ours", "left out"])
def test_old_proof_of_the_way_back_does_not_count(mutation: Mutation) -> None:
    """A member accepted the old root when it was asked, and dropped it since: the rollback that waited is refused."""
    net, a, b, c = everywhere_new(mutation)
    a.requests, b.up = (Request("rollback", "node", net.now),), False
    settle(net, a, seconds=1)
    assert any(k.address == c.address and k.outcome == "accepted" for k in a.looks)
    assert root_of(a.loaded[1]) == "new"
    _up(net, b)
    net.now += timedelta(seconds=LONG)
    _say(net, c)
    _prune(net, c)
    assert c.loaded[0] == ("new",)
    a.requests = (Request("rollback", "node", net.now),)
    settle(net, a, seconds=1)
    assert bool(net.failing()) == mutation.freshness


def test_prune_sees_who_went_back_since() -> None:
    """A member was seen to serve the new root, and was rolled back since: the former CA stays in the bundle."""
    net, a, b, _ = everywhere_new()
    assert [root_of(h.loaded[1]) for h in net.hosts.values()] == ["new"] * 3
    a.words += (Word(kind="abort", bundle="ca", root="new", at=net.now),)
    settle(net, a, seconds=1)
    assert root_of(a.loaded[1]) == "old"
    net.now += timedelta(seconds=LONG)
    _say(net, b)
    _prune(net, b)
    assert not net.failing()
    assert b.loaded[0] == ("new", "old")
