"""Hosts with the real core in a network where everything may happen: no order of events cuts two of them off.

Each guard in turn is left out by what the hosts are told; then some order of events does. Each walk has a seed, which
is shown where it fails.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from random import Random

import pytest

from certagent.core.facts import Attempt, Request, Staged, Word
from tests.core.rotation.network import OWN, PAUSES, Host, Mutation, Network, bundle_of, root_of

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
    stopped = any(aborted(h) for h in net.hosts.values())
    made = net.add("h3", pinned)
    if stopped:  # a person who aborts does so on every host that joins, too
        abort(net, made)
    made.listed = tuple(h.address for h in net.hosts.values() if h is not made)


def _list(net: Network, host: Host) -> None:
    host.listed = tuple(h.address for h in net.hosts.values() if h is not host)


def _client(net: Network, _: Host) -> None:
    if "new" not in net.client_trusts:
        net.client_trusts.add("new")
    elif all("new" in h.loaded[0] for h in net.hosts.values()) and not any(map(kept_old, net.hosts.values())):
        net.client_shows = "new"


def kept_old(host: Host) -> bool:
    """Whether a person has said there that clients keep to the former root: what was said is held."""
    return any((w.kind, w.root) == ("clients-present", "old") for w in host.words)


def _say(net: Network, host: Host) -> None:
    """A person says what is so, on one host."""
    said = {(w.kind, w.root) for w in host.words}
    if "new" in net.client_trusts and ("clients-trust", "new") not in said:
        host.words += (Word(kind="clients-trust", bundle="ca", root="new", at=net.now),)
    elif net.client_shows == "new" and ("clients-present", "new") not in said:
        host.words += (Word(kind="clients-present", bundle="ca", root="new", at=net.now),)
    everywhere = all(aborted(h) for h in net.hosts.values())
    if everywhere and net.client_shows == "old" and ("clients-present", "old") not in said:
        host.words += (Word(kind="clients-present", bundle="ca", root="old", at=net.now),)


def aborted(host: Host) -> bool:
    """Whether a person aborted there, and did not take it back."""
    return any(w.kind == "abort" for w in host.words)


def _prune(net: Network, host: Host) -> None:
    """A person prunes; the guard alone decides whether that is done. Nobody goes back in the same minutes."""
    if set(host.bundle) != {"old", "new"} or not host.up or host.staged:
        return
    stays = ("old",) if aborted(host) else ("new",)
    if net.mutation.prune:
        host.bundle, host.loaded = stays, (stays, host.disk)
        return
    host.staged = (Staged(bundle_of(stays), net.now, asked=True),)
    for _ in range(4):
        net.turn(host, rounds=5)
        net.now += timedelta(seconds=2)
    host.staged = ()
    net.now += timedelta(seconds=LONG)


def _replace(net: Network, host: Host) -> None:
    """Another tool puts some ca.crt there; while it is not loaded somebody may put back what is."""
    if not host.up or host.staged:
        return
    host.bundle = net.random.choice([("new", "old"), ("new",), ("old",)])
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
    if aborted(host):
        host.words = tuple(w for w in host.words if w.kind != "abort")
    elif net.random.random() < 0.3:
        abort(net, host)


def _abort_everywhere(net: Network, _: Host) -> None:
    """A person aborts on every host."""
    for host in net.hosts.values():
        if not aborted(host):
            abort(net, host)


def abort(net: Network, host: Host) -> None:
    """A person aborts on one host; its agent keeps that in its history."""
    host.words += (Word(kind="abort", bundle="ca", root="new", at=net.now),)
    host.attempts += (Attempt("command", "ca", net.now, "ok", command="rotation abort"),)


EVENTS = {
    _bring: 3, _switch: 1, _answer: 4, _turn: 30, _down: 0.7, _up: 4, _cut: 0.5, _heal: 3, _join: 0.5, _list: 0.3,
    _client: 2, _say: 4, _prune: 2, _replace: 1, _back: 1, _abort: 0.2, _abort_everywhere: 0.05,
}  # fmt: skip


OFTEN = {**EVENTS, _abort: 3, _abort_everywhere: 2, _down: 0.5, _switch: 3, _answer: 8, _client: 0.3, _prune: 4}


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


def walk(
    seed: int, mutation: Mutation, events: Mapping[Callable[[Network, Host], None], float] = EVENTS
) -> tuple[str, Network]:
    """Who was cut off in a walk, "" where nobody was; and how the network stands in the end."""
    random = Random(seed)
    net = Network(random=random, mutation=mutation)
    begun(net, seed % 3)
    for event in random.choices([*events], [*events.values()], k=STEPS):
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


@pytest.mark.parametrize("seed", range(WALKS // 2))
def test_no_abort_cuts_anybody_off(seed: int) -> None:
    """Aborts on one host or on all, taken back or not, and prunes of the root that was given up."""
    found, net = walk(seed, Mutation(), OFTEN)
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
    abort(net, a)
    settle(net, a, seconds=1)
    assert root_of(a.loaded[1]) == "old"
    net.now += timedelta(seconds=LONG)
    _say(net, b)
    _prune(net, b)
    assert not net.failing()
    assert b.loaded[0] == ("new", "old")


def trusted_everywhere(mutation: Mutation) -> tuple[Network, Host, Host, Host]:
    """Every bundle has both roots; one host has a new pair, and was shown by everybody that it is accepted."""
    net = Network(random=Random(1), mutation=mutation)
    begun(net, 1)
    a, b, c = net.hosts.values()
    net.now += timedelta(hours=1)
    _say(net, b)
    _answer(net, b)
    for _ in range(2):
        net.turn(b, rounds=1)
        net.now += timedelta(seconds=2)
    assert {k.address for k in b.looks if k.outcome == "accepted"} == {OWN, a.address, c.address}
    assert root_of(b.disk) == "old"
    return net, a, b, c


@pytest.mark.parametrize("mutation", [Mutation(), Mutation(aborted=True)], ids=["ours", "left out"])
def test_new_root_stays_while_another_host_may_go_on(mutation: Mutation) -> None:
    """The abort was said on one host: another one goes forward on what it was shown before, a long time later."""
    net, a, b, c = trusted_everywhere(mutation)
    abort(net, a)
    _prune(net, a)
    assert (a.loaded[0] == ("old",)) == mutation.aborted
    settle(net, b, c)
    assert root_of(b.loaded[1]) == "new"
    assert bool(net.failing()) == mutation.aborted


@pytest.mark.parametrize("mutation", [Mutation(), Mutation(resumed=True)], ids=["ours", "left out"])
def test_rotation_that_was_aborted_once_goes_on_by_fresh_proof_alone(mutation: Mutation) -> None:
    """Aborted everywhere, and the new root has left a bundle: a host where that is taken back has old proofs."""
    net, a, b, c = trusted_everywhere(mutation)
    _abort_everywhere(net, a)
    _say(net, a)
    _say(net, a)
    _prune(net, a)
    assert a.loaded[0] == ("old",)
    _abort(net, b)
    assert not aborted(b)
    settle(net, b, c)
    assert bool(net.failing()) == mutation.resumed
    assert root_of(b.loaded[1]) == ("new" if mutation.resumed else "old")
