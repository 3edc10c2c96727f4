"""A model of hosts that rotate their CA without a coordinator, and every state that they can reach.

A host serves a leaf of one root, has loaded a bundle of some, and remembers what it last saw of each other host. The
operator's new root arrives anywhere at any time, the CA switches at any time, and hosts go down, are cut off and come
back. A rule says when a host serves a leaf of the new root and when it drops the old one. It is safe if in no state
that can be reached two hosts which reach each other fail to connect; it is live if from every such state all can end
with the new root alone, or, after an abort, with leaves of the old one.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

OLD, NEW, BOTH = 1, 2, 3


class Seen(NamedTuple):
    """What one host saw of another."""

    leaf: int
    bundle: int


class Host(NamedTuple):
    """A member of the cluster, or a client outside of it, which nobody looks at."""

    leaf: int = OLD
    bundle: int = OLD
    up: bool = True
    cut: bool = False  # it runs, and reaches nobody
    aged: bool = False  # its bundle has been there for a while
    forgotten: bool = False  # a person took it off the list


class State(NamedTuple):
    """Everything at one moment."""

    hosts: tuple[Host, ...]
    views: tuple[Seen | None, ...]  # what each host last saw of each other one
    client: Host | None = None
    switched: bool = False  # the CA issues under the new root
    aborted: bool = False
    words: frozenset[str] = frozenset()  # what a person said about the client


Whom = Literal["free", "own", "aged", "reachable", "all", "never"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a host goes on, and what may happen meanwhile."""

    hosts: int = 2
    leaf: Whom = "all"  # who must trust the new root before a host serves a leaf of it
    prune: Whom = "all"  # who must serve such a leaf before a host drops the old root
    overlap: bool = True  # else the new root replaces the old one in a bundle
    recall: bool = True  # what was seen once counts for ever; else it is looked at in the moment of the act
    away: int = 1  # how many may be down or cut off at a time
    cuts: bool = False
    abort: Literal["", "blind", "remembered", "now", "leaves only"] = ""  # how a host goes back, where a person aborts
    rollback: Literal["", "blind", "now"] = ""  # how a host goes back to its earlier pair by itself
    forget: Literal["", "as it was", "bundle first", "bundle and leaf first"] = ""  # how one returns that is not listed
    client: bool = False
    words: frozenset[str] = frozenset({"trust", "present"})  # of those about the client, the ones that are waited for


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found: the shortest way to a failure, or whether the end can be reached from everywhere."""

    states: int
    failure: tuple[str, ...] = ()
    live: bool = False

    @property
    def safe(self) -> bool:
        """No failure can be reached."""
        return not self.failure


Step = tuple[str, State]


def _with(state: State, i: int, **changes: int) -> State:
    hosts = state.hosts
    return state._replace(hosts=(*hosts[:i], hosts[i]._replace(**changes), *hosts[i + 1 :]))  # type: ignore[arg-type]


def _reach(a: Host, b: Host) -> bool:
    return a.up and b.up and not a.cut and not b.cut


def _connect(a: Host, b: Host) -> bool:
    return bool(a.leaf & b.bundle and b.leaf & a.bundle)


def failing(state: State) -> bool:
    """Whether two that reach each other do not connect."""
    parties = (*state.hosts, *((state.client,) if state.client else ()))
    pairs = ((a, b) for n, a in enumerate(parties) for b in parties[n + 1 :])
    return any(_reach(a, b) and not _connect(a, b) for a, b in pairs)


def _ended(rule: Rule) -> Callable[[State], bool]:
    last = BOTH if rule.prune == "never" else NEW

    def ended(state: State) -> bool:
        new = all(h.leaf == NEW and h.bundle == last for h in state.hosts)
        old = state.aborted and all(h.leaf == OLD for h in state.hosts)
        return (new or old) and all(h.up and not h.cut for h in state.hosts)

    return ended


def _agree(rule: Rule, state: State, i: int, whom: Whom | str, holds: Callable[[Seen], bool]) -> bool:
    """Whether something holds of everybody whom the rule asks about."""
    me, count = state.hosts[i], rule.hosts
    if whom in {"free", "own"}:
        return True
    if whom == "aged":
        return me.aged
    for j, other in enumerate(state.hosts):
        if j == i or other.forgotten:
            continue
        seen = Seen(other.leaf, other.bundle) if _reach(me, other) else None
        if rule.recall and whom in {"all", "remembered"}:
            seen = state.views[i * count + j]
        if not (seen and holds(seen)) and (seen or whom != "reachable"):
            return False
    return True


def _forward(rule: Rule, state: State, i: int) -> Iterator[Step]:
    """What a host does of itself."""
    me, who = state.hosts[i], f"host {i}"
    if not me.bundle & NEW:
        yield f"{who} loads the new root", _with(state, i, bundle=BOTH if rule.overlap else NEW)
    elif not me.aged and "aged" in {rule.leaf, rule.prune}:
        yield f"{who} waits", _with(state, i, aged=True)
    trusted = _agree(rule, state, i, rule.leaf, lambda seen: bool(seen.bundle & NEW))
    said = not rule.client or "trust" in state.words or "trust" not in rule.words
    if state.switched and me.leaf == OLD and (me.bundle & NEW or rule.leaf == "free") and trusted and said:
        yield f"{who} serves the new leaf", _with(state, i, leaf=NEW)
    done = rule.prune != "never" and _agree(rule, state, i, rule.prune, lambda seen: seen.leaf == NEW)
    said = not rule.client or "present" in state.words or "present" not in rule.words
    if me.leaf == NEW and me.bundle == BOTH and done and said:
        yield f"{who} drops the old root", _with(state, i, bundle=NEW)


def _back(rule: Rule, state: State, i: int) -> Iterator[Step]:
    """What a host does once a person has aborted."""
    me, who = state.hosts[i], f"host {i}"
    whom = {"blind": "own", "leaves only": "own"}.get(rule.abort, "remembered" if rule.abort == "remembered" else "now")
    trusted = _agree(rule, state, i, whom, lambda seen: bool(seen.bundle & OLD))
    if me.leaf == NEW and me.bundle & OLD and trusted:
        yield f"{who} serves the old leaf again", _with(state, i, leaf=OLD)
    unused = _agree(rule, state, i, whom, lambda seen: seen.leaf == OLD)
    if me.leaf == OLD and me.bundle == BOTH and unused and rule.abort != "leaves only":
        yield f"{who} drops the new root", _with(state, i, bundle=OLD)


def _by_itself(rule: Rule, state: State, i: int) -> Iterator[Step]:
    """The rollback of an agent whose server does not like its new pair."""
    me = state.hosts[i]
    whom = "own" if rule.rollback == "blind" else "now"
    trusted = _agree(rule, state, i, whom, lambda seen: bool(seen.bundle & OLD))
    if me.leaf == NEW and trusted and (me.bundle & OLD or rule.rollback == "blind"):
        yield f"host {i} rolls back", _with(state, i, leaf=OLD)


def _looks(rule: Rule, state: State, i: int) -> Iterator[Step]:
    for j, other in enumerate(state.hosts):
        at, seen = i * rule.hosts + j, Seen(other.leaf, other.bundle)
        if j != i and _reach(state.hosts[i], other) and state.views[at] != seen:
            yield f"host {i} looks at host {j}", state._replace(views=(*state.views[:at], seen, *state.views[at + 1 :]))


def _returns(rule: Rule, state: State, i: int) -> Iterator[Step]:
    me, bundle = state.hosts[i], state.hosts[i].bundle
    if rule.forget and not me.forgotten:
        yield f"host {i} is taken off the list", _with(state, i, forgotten=True)
    if rule.forget == "bundle and leaf first":
        others = [h for j, h in enumerate(state.hosts) if j != i and h.up]
        trusted = state.switched and all(h.bundle & NEW for h in others)
        changes = {"bundle": bundle | NEW, "leaf": NEW if trusted else me.leaf, "forgotten": False}
        yield f"host {i} comes back", _with(state, i, up=True, **changes)
    else:
        bundle |= NEW if rule.forget == "bundle first" else 0
        yield f"host {i} comes back", _with(state, i, up=True, bundle=bundle)


def _faults(rule: Rule, state: State, i: int) -> Iterator[Step]:
    me, away = state.hosts[i], sum(not h.up or h.cut for h in state.hosts)
    if me.up and not me.cut and away < rule.away:
        yield f"host {i} goes down", _with(state, i, up=False)
        if rule.cuts:
            yield f"host {i} is cut off", _with(state, i, cut=True)
    if not me.up:
        yield from _returns(rule, state, i)
    if me.cut:
        yield f"host {i} is connected again", _with(state, i, cut=False)


def _of_client(state: State) -> Iterator[Step]:
    client = state.client
    if client is None:
        return
    if not client.bundle & NEW:
        yield "the client trusts the new root", state._replace(client=client._replace(bundle=BOTH))
    elif "trust" not in state.words:
        yield "a person says: clients trust", state._replace(words=state.words | {"trust"})
    everywhere = all(h.bundle & NEW for h in state.hosts)
    if state.switched and client.bundle & NEW and client.leaf == OLD and everywhere:
        yield "the client has a new leaf", state._replace(client=client._replace(leaf=NEW))
    if client.leaf == NEW and "present" not in state.words:
        yield "a person says: clients present", state._replace(words=state.words | {"present"})


def steps(rule: Rule, state: State) -> Iterator[Step]:
    """Everything that can happen next."""
    if not state.switched:
        yield "the CA issues under the new root", state._replace(switched=True)
    if rule.abort and not state.aborted and any(h.leaf == OLD for h in state.hosts):
        yield "a person aborts", state._replace(aborted=True)
    yield from _of_client(state)
    for i, host in enumerate(state.hosts):
        yield from _faults(rule, state, i)
        if host.up:
            yield from _looks(rule, state, i) if rule.recall else ()
            yield from (_back if state.aborted else _forward)(rule, state, i)
            yield from _by_itself(rule, state, i) if rule.rollback else ()


def explore(rule: Rule) -> Verdict:
    """Every state, the nearest ones first."""
    start = State((Host(),) * rule.hosts, (None,) * rule.hosts**2, Host() if rule.client else None)
    came: dict[State, tuple[State, str] | None] = {start: None}
    before: dict[State, list[State]] = {start: []}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if failing(state):
            return Verdict(states=len(came), failure=_way(came, state))
        for told, after in steps(rule, state):
            if after not in came:
                came[after] = state, told
                before[after] = []
                queue.append(after)
            before[after].append(state)
    return Verdict(states=len(came), live=_everywhere(before, _ended(rule)))


def _way(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    way = []
    while step := came[state]:
        state, told = step
        way.append(told)
    return tuple(reversed(way))


def _everywhere(before: dict[State, list[State]], ended: Callable[[State], bool]) -> bool:
    """Whether every state leads to an end."""
    queue = [state for state in before if ended(state)]
    leads = set(queue)
    while queue:
        for state in before[queue.pop()]:
            if state not in leads:
                leads.add(state)
                queue.append(state)
    return len(leads) == len(before)
