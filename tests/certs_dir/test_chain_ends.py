"""When a chain ends: which CA certificate ends before the leaf, as a scan and the pre-install checks see it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certagent import x509
from certagent.certs_dir.system_roots import Roots, mark_of
from certagent.certs_dir.verify import TrustStore, trust
from certagent.core.names import NODE, UI, Name, parse
from tests.verifying.chains import CLIENT, NOW, SERVER, Spec, issue

DAY = timedelta(days=1)
ROOT = Spec("root", ("p256", 0), end=3000 * DAY)
BETWEEN = Spec("between", ("p256", 1), end=30 * DAY)
LEAF = Spec("leaf", ("p256", 2), leaf=True, eku=(SERVER, CLIENT), dns=("localhost",), end=90 * DAY, common_name="node")
LASTING = replace(BETWEEN, end=400 * DAY)
OTHER = Spec("other root", ("p256", 3), end=20 * DAY)
ROOT_PEM, BETWEEN_PEM, LASTING_PEM = issue(ROOT, ROOT), issue(BETWEEN, ROOT), issue(LASTING, ROOT)
OTHER_PEM = issue(OTHER, OTHER)
UNDER_BETWEEN, UNDER_ROOT = issue(LEAF, BETWEEN), issue(LEAF, ROOT)
SHORT_ROOT = issue(replace(ROOT, end=40 * DAY), ROOT)
CROSS = issue(replace(BETWEEN, end=50 * DAY), OTHER)
NONE = (None, "")


def found(certs: bytes, bundles: dict[str, bytes], name: Name = NODE, at: datetime = NOW) -> tuple[object, str]:
    """How many days from now the chain ends before its leaf, and by which CA."""
    store = TrustStore(bundles=bundles, roots=lambda: Roots(mark_of(None), SHORT_ROOT), split=False)
    leaf = x509.parse_certificates(certs)[0]
    verdict = trust(name, leaf, certs, store, at)
    assert verdict is not None
    return (verdict.ends - NOW) // DAY if verdict.ends else None, verdict.ends_by


CHAINS = [
    ("the root outlives it", UNDER_ROOT, {"ca": ROOT_PEM}, NONE),
    ("an intermediate of the file ends first", UNDER_BETWEEN + BETWEEN_PEM, {"ca": ROOT_PEM}, (30, "CN=between")),
    ("an intermediate of the bundle ends first", UNDER_BETWEEN, {"ca": BETWEEN_PEM + ROOT_PEM}, (30, "CN=between")),
    ("the root ends first", UNDER_ROOT, {"ca": SHORT_ROOT}, (40, "CN=root")),
    ("the old root beside the new one", UNDER_ROOT, {"ca": SHORT_ROOT + ROOT_PEM}, NONE),
    ("a root of others ends first", UNDER_ROOT, {"ca": ROOT_PEM + OTHER_PEM}, NONE),
    ("the renewed intermediate beside the old one", UNDER_BETWEEN + BETWEEN_PEM + LASTING_PEM, {"ca": ROOT_PEM}, NONE),
    (
        "cross-signed, by the longer path",
        UNDER_BETWEEN + BETWEEN_PEM + CROSS,
        {"ca": ROOT_PEM + OTHER_PEM},
        (30, "CN=between"),
    ),
    (
        "as a client by another bundle",
        UNDER_ROOT,
        {"ca": ROOT_PEM, "ca-client": SHORT_ROOT},
        (40, "CN=root"),
    ),
]


@pytest.mark.parametrize(("label", "certs", "bundles", "end"), CHAINS, ids=[r[0] for r in CHAINS])
def test_chain_end_is_first_indispensable_ca(
    label: str, certs: bytes, bundles: dict[str, bytes], end: tuple[int | None, str]
) -> None:
    """The chain ends with the first CA certificate without which it does not verify, whichever file has it."""
    assert end == found(certs, bundles), label


def test_chain_end_is_known_after_intermediate_expired() -> None:
    """After the intermediate expired the renewal that it made due stays due: its end is still known."""
    bundles = {"ca": ROOT_PEM}
    assert (30, "CN=between") == found(UNDER_BETWEEN + BETWEEN_PEM, bundles, at=NOW + 40 * DAY)
    assert NONE == found(UNDER_BETWEEN, bundles, at=NOW + 40 * DAY), "it never verified"


def test_chain_end_of_ui_by_system_roots() -> None:
    """The DB Console's pair is verified by the system's roots: their first end counts as well."""
    assert (40, "CN=root") == found(UNDER_ROOT, {"ca": OTHER_PEM}, UI)
    name = parse("client.node")
    assert isinstance(name, Name)
    assert (30, "CN=between") == found(UNDER_BETWEEN + BETWEEN_PEM, {"ca": ROOT_PEM}, name)
