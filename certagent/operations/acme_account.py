"""Change the account that an authority has with its ACME CA: replace its key, or deactivate it."""

import os
from datetime import datetime

from certagent.authority.client import Remote, authorities_of
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Done, Operation
from certagent.config import Config
from certagent.config.remote import RemoteConfig
from certagent.posix.errors import HostError
from certagent.posix.owner import name_of
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import AuthorityState
from certagent.state.ownership import agent_of

OPERATIONS: dict[str, Operation] = {"rollover": "rollover", "deactivate": "deactivate"}
STEPS = 3  # a rollover is two requests


def change(config: Config, workers: Workers, name: str, operation: str, now: datetime) -> str:
    """Change the account through a worker; return what was done. Raises HostError with the reason."""
    asked = permitted(config, name, operation)
    as_the_agent(config.settings.state_dir)
    book = AuthorityState(os.path.join(config.settings.state_dir, "authority"))
    authority = authorities_of(config, workers, book)[name]
    if not isinstance(authority, Remote):
        raise HostError(f"cannot {operation} the account of {name!r}: it is not a remote authority")
    try:
        answers = (authority.account(asked, now) for _ in range(STEPS))
        note = next((answer.note for answer in answers if isinstance(answer, Done)), None)
    except AuthorityError as error:
        raise HostError(str(error)) from error
    if note is None:
        raise HostError(f"cannot {operation} the account of {name!r}: the CA has not finished; try again")
    return note


def permitted(config: Config, name: str, operation: str) -> Operation:
    """Given the configuration and an operation, return what the CA is asked. HostError without an account."""
    if operation not in OPERATIONS:
        raise HostError(f"cannot {operation!r} an account: use one of {', '.join(OPERATIONS)}")
    remote = {n: a.options for n, a in config.authorities.items() if isinstance(a.options, RemoteConfig)}
    keep = [n for n, made in remote.items() if made.ca_type.account]
    if name not in keep:
        known = ", ".join(keep) or "none"
        raise HostError(
            f"cannot {operation} the account of {name!r}: its type has no accounts; authorities with accounts: {known}"
        )
    return OPERATIONS[operation]


def as_the_agent(state_dir: str, command: str = "", running: str = "") -> None:
    """Act as the agent's user: a file of another user would lock the agent out of its own account. Raises HostError.

    `command`: what was typed. `running`: the configuration of the agent that runs, where it is another one.
    """
    try:
        owner = agent_of(state_dir)
    except OSError as error:
        raise HostError(f"cannot read {state_dir}: {error.strerror}") from error
    if owner != os.geteuid():
        raise HostError(another_user(state_dir, name_of(owner), command, running, root=os.geteuid() == 0))


def another_user(state_dir: str, user: str, command: str, running: str, *, root: bool) -> str:
    """Given whose state it is, what was typed, and what the agent runs with, return why not, and how."""
    run = _as(user, command, root=root)
    if running:
        return f"cannot use {state_dir}: it belongs to {user}, whose agent runs with {running}; {run}"
    return f"cannot use {state_dir}: it belongs to {user}; start the agent, or {run}"


def before_the_first_start(user: str, me: str, command: str, *, root: bool) -> str:
    """Given whom the agent's unit runs as ("": not known), who asks, and what was typed, return why not; "": ask.

    Until an agent has run, no state says whose it is. What its user may read belongs to that user, and so would be
    distrusted, with a remedy that locks the agent out.
    """
    if user in {"", me}:
        return ""
    return f"cannot ask as {me}: the agent runs as {user}; start the agent, or {_as(user, command, root=root)}"


def _as(user: str, command: str, *, root: bool) -> str:
    how = f"{f'runuser -u {user} --' if root else f'sudo -u {user}'} {command}" if command else ""
    return f"run this as {user}" + (f": {how}" if how else "")
