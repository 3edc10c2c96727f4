"""Authorizations: show that the names are ours, by the configured challenge."""

import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol, Self

from acme import messages

from certagent.authority.acme.account import Account
from certagent.authority.acme.alpn import Alpn
from certagent.authority.acme.listening import inherited
from certagent.authority.acme.options import Options
from certagent.authority.acme.problems import error_of
from certagent.authority.acme.web import Standalone, Webroot
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Responder(AbstractContextManager["Responder"], Protocol):
    """Whatever answers challenges while its `with` block lasts."""

    def __enter__(self) -> Self:
        """Begin."""

    def present(self, name: str, token: str, authorization: str) -> None:
        """Answer for one more name."""

    def ready(self, until: float) -> None:
        """Return when a CA would see it, at `until` (monotonic) at the latest."""


def responder(options: Options, secrets: Mapping[str, str], sockets: Mapping[str, int]) -> Responder:
    """The one that the configuration asks for."""
    if options.challenge == "http-01":
        return Webroot(options) if options.webroot else Standalone(options, sockets)
    if options.challenge == "tls-alpn-01":
        return Alpn(options, sockets)
    from certagent.authority.acme.dns01 import Hook, Update

    return Hook(options) if options.dns_hook else Update(options, secrets.get("dns_key", ""))


def prove(account: Account, urls: list[str], options: Options, context: Context, end: float) -> None:
    """Answer every authorization that is pending, and wait until none is. Raises AuthorityError, messages.Error."""
    waiting = {url: found for url in urls if str((found := _fetch(account, url)).status.name) == "pending"}
    if not waiting:
        return
    with responder(options, context.secrets, inherited(os.environ)) as answering:
        chosen = [_chosen(found, options.challenge) for found in waiting.values()]
        for found, challenge in zip(waiting.values(), chosen, strict=True):
            authorization = challenge.chall.key_authorization(account.key)
            answering.present(found.identifier.value, challenge.chall.encode("token"), authorization)
        answering.ready(end)
        for challenge in chosen:
            if challenge.status.name == "pending":
                account.post(challenge.uri, {})
        for url in waiting:
            _settled(account, url, options, end)


def _fetch(account: Account, url: str) -> messages.Authorization:
    return messages.Authorization.from_json(account.post(url, None).json())


def _chosen(found: messages.Authorization, kind: str) -> messages.ChallengeBody:
    offered = {str(c.chall.typ): c for c in found.challenges if getattr(c.chall, "typ", None)}
    if kind in offered:
        return offered[kind]
    has = ", ".join(sorted(offered)) or "nothing that is known here"
    raise AuthorityError(
        f"cannot prove {found.identifier.value} by {kind}: the CA offers {has}; set `challenge`", kind="refused"
    )


def _settled(account: Account, url: str, options: Options, end: float) -> None:
    """Poll one authorization; over the patience it stays pending, which the order's status shows."""
    pause = FIRST_PAUSE
    while (found := _fetch(account, url)).status.name == "pending":
        if time.monotonic() + pause > end:
            return
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    if found.status.name == "valid":
        return
    what = f"prove {found.identifier.value} by {options.challenge}"
    problem = next((c.error for c in found.challenges if c.error is not None), None)
    if problem is None:
        raise AuthorityError(f"cannot {what}: the CA calls the authorization {found.status.name}", kind="refused")
    raise error_of(problem, what)
