"""Between a CA's answer and its staging: an agent that ends there loses no certificate, and uses no key twice."""

from datetime import datetime, timedelta
from pathlib import Path

from certagent import x509
from certagent.authority.client import Order
from certagent.authority.client.local import Embedded
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Pending
from certagent.config import LocalConfig
from certagent.core.actions import Issue
from certagent.state.authority_state import AuthorityState
from tests.authority.test_joining import made, order, people
from tests.core.building import want
from tests.making import make_ca
from tests.moments import now

CA, DAY = make_ca("house"), timedelta(days=1)


def signed(csr: bytes) -> bytes:
    begin = now() - DAY
    return x509.sign_csr(csr, CA.cert, CA.key, server=True, client=True, not_before=begin, not_after=begin + 30 * DAY)


def boxes(base: Path) -> tuple[list[str], int]:
    return sorted(p.name for p in (base / "inbox").iterdir()), len(list((base / "outbox").iterdir()))


def test_dropbox_answer_stays_until_it_is_staged(tmp_path: Path) -> None:
    """The agent ends after it took the answer and before it staged it: the next one takes the same answer."""
    asked = order(tmp_path)
    assert isinstance(people(tmp_path).issue(asked, now()), Pending)
    (tmp_path / "inbox" / "answer.pem").write_bytes(signed(asked.csr))
    first = people(tmp_path).issue(asked, now())
    assert (["answer.pem"], 1) == boxes(tmp_path)
    again = people(tmp_path)
    assert first == again.issue(asked, now())
    for _ in range(2):
        again.delivered(asked.certs_dir, asked.stem)
        assert ([], 0) == boxes(tmp_path)


def test_pending_request_whose_certificate_is_live_is_made_anew(tmp_path: Path) -> None:
    """The agent ended after the swap and before it removed the request: the next renewal has a key of its own."""
    certs, action = tmp_path / "certs", Issue(want(), "people", ("localhost",), False, "renewal is due")
    certs.mkdir(mode=0o700)
    made(tmp_path, {"people": people(tmp_path)}, action)
    area = certs / ".certagent" / "pending"
    mark, _, csr = (area / "node.csr").read_bytes().partition(b"\n")
    (certs / "node.crt").write_bytes(signed(csr))
    (certs / "node.key").write_bytes((area / "node.key").read_bytes())
    made(tmp_path, {"people": people(tmp_path)}, action)
    after = (area / "node.csr").read_bytes()
    assert after.startswith(mark)
    assert not after.endswith(csr)


class Stopping(Embedded):
    """A CA whose worker was ended, because the agent stops."""

    def issue(self, order: Order, now: datetime) -> bytes:
        raise AuthorityError(f"cannot ask for {order.stem} at {now}: the agent is stopping", kind="interrupted")


def test_request_of_stopping_agent_is_recorded_as_interrupted(tmp_path: Path) -> None:
    """A stop is not a failure of the CA: the ledger tells them apart, people read what happened."""
    config = LocalConfig(str(tmp_path / "ca"), True, DAY, DAY, "ecdsa-p256", "ca.crt", "ca.key", ("", ""))
    stops = Stopping("house", config, AuthorityState(str(tmp_path / "state")))
    ledger, log = made(tmp_path, {"house": stops}, Issue(want(), "house", ("localhost",), False, "renewal is due"))
    (attempt,) = ledger.attempts(str(tmp_path / "certs"))
    assert ("failed", True) == (attempt.outcome, attempt.interrupted)
    assert "issue.failed" in log
