"""What an authority is asked for, and which request that waits is the same one. Values in, values out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.agent.jobs.issue import mark_of
from certagent.authority.client import Order
from certagent.core.actions import Issue
from tests.core.building import want


def asked(**changes: Any) -> Issue:
    wanted = want("node", lifetime=timedelta(days=9))
    return replace(Issue(wanted, "house", ("db1", "10.0.0.5"), False, "it is due"), **changes)


def test_issue_request_names() -> None:
    """The names of the action, which may be more than are configured; the rest as wanted."""
    action = asked()
    order = Order.of("/certs", action.want, action.names, b"csr", b"live")
    assert ("/certs", "node", b"csr", ("db1", "10.0.0.5"), b"live") == (
        order.certs_dir,
        order.stem,
        order.csr,
        order.names,
        order.live,
    )
    assert ("node", True, True, timedelta(days=9)) == (order.principal, order.server, order.client, order.lifetime)
    assert "" == Order.of("/certs", want("ui"), action.names, b"csr", b"").principal


MARK = mark_of(asked(), "", "")


@pytest.mark.parametrize(
    "same", [asked(names=("10.0.0.5", "db1")), asked(reason="it was asked for"), asked(carried_over_bundle="ca")]
)
def test_pending_request_same_is_reused(same: Issue) -> None:
    """In another order of names, or for another reason: the pending key and CSR are used again."""
    assert MARK == mark_of(same, "", "")


@pytest.mark.parametrize(("other", "spki", "challenge"), [
    (asked(authority="public"), "", ""),
    (asked(names=("db1",)), "", ""),
    (asked(want=want("node", key="rsa-2048")), "", ""),
    (asked(), "the live key", ""),
    (asked(), "", "a challenge"),
])  # fmt: skip
def test_pending_request_different_is_made_anew(other: Issue, spki: str, challenge: str) -> None:
    """Another authority, other names, another want, another key, another challenge: it is made anew."""
    assert MARK != mark_of(other, spki, challenge)
