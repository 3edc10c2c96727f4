"""Who has to take part: the listed members, whether the list is complete, and whether this node is alone.

A list is complete if it is as long as the number of live nodes that the own node knows (`liveness_livenodes`). Where
there is neither a process nor a list, nobody can be seen who could be cut off, and the pre-install checks suffice.
"""

from dataclasses import dataclass

from certagent.core.facts import Members, Process
from certagent.core.view import View

ALONE = "start-single-node"
SAY = "set `peers` to the addresses of the other nodes, or to [] for a node that is alone"
UNSCANNED = "the processes that use the directory were not looked for yet"
UNKNOWN = "liveness_livenodes of the own node was not read, so nobody knows whether the list is complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The other members, and why they may not be all."""

    listed: tuple[str, ...] = ()
    missing: str = ""  # why the list cannot be relied on
    nobody: bool = False  # neither a process nor a list
    soon: bool = False  # what is missing may be known in a moment


def fleet(view: View) -> Fleet:
    """Given what is configured and what the own node says, return who takes part."""
    members = view.snapshot.members
    if members.problem:
        return Fleet(listed=members.listed, missing=f"the list of members cannot be read: {members.problem}")
    if view.snapshot.processes_at is None:
        return Fleet(listed=members.listed, missing=UNSCANNED, soon=True)
    running = [p for p in view.snapshot.own_processes if p.state != "gone"]
    if members.unlisted:
        return Fleet(listed=members.listed, missing=_short(members))
    if members.listed:
        unknown = UNKNOWN if running and members.live is None else ""
        return Fleet(listed=members.listed, missing=unknown, soon=bool(unknown))
    if view.policy.rotation.peers == () or not running:
        return Fleet(nobody=not running)
    alone = members.live is not None or members.source in {"peers", "peers_file"} or all(_single(p) for p in running)
    return Fleet(missing="" if alone else f"nothing says who the other members are: {SAY}")


def _short(members: Members) -> str:
    known = len(members.listed) + members.here
    return f"{members.live} nodes are live, and {known} are known with this one: {SAY}"


def _single(process: Process) -> bool:
    return ALONE in process.command.split()
