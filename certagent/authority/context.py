"""What a backend uses inside the worker: its credentials, its saved state, HTTPS and the clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from certagent.authority.backends.http import Http
from certagent.authority.messages import State


@dataclass(frozen=True, slots=True)
class Context:
    """Every backend is one function `ask(request, context) -> Answer`; it may raise AuthorityError for a failure.

    What it puts into `state` is remembered whatever the outcome, and durably once `save` has returned: called before a
    CA is told something that it does once (an account for a key, a certificate for an order), so that after a crash the
    next request finds it again. `save` raises AuthorityError. `secrets` holds what the configuration named as
    secret settings, by the names of those settings, read by the daemon for this one request.
    """

    secrets: Mapping[str, str]
    state: State
    http: Http
    now: Callable[[], datetime]
    save: Callable[[], None] = lambda: None
    once_staged: Callable[[Callable[[], None]], None] = lambda tidy: tidy()  # for a backend in the agent's own process
