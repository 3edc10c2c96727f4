"""A pair that is limited to tenants, made by the configuration and lost in several ways: the next one is, too."""

import shutil

import pytest

from certagent import x509
from tests.system.running import Host

pytestmark = pytest.mark.slow
URIS = ("crdb://tenant/1/user/root", "crdb://tenant/10/user/root")


def scopes(host: Host) -> tuple[str, ...]:
    """What the live client.root.crt is limited to."""
    return x509.parse_certificates((host.certs / "client.root.crt").read_bytes())[0].scopes


def test_lost_tenant_pair_is_issued_again_with_its_uris(host: Host) -> None:
    """Also after the setting is gone, and with either the generations or the ledger lost."""
    limited = f"[certs_dir.file.'client.root']\nuris = {list(URIS)}\n"
    for extra in (limited, f"{limited}key = 'ecdsa-p384'", "[certs_dir.file.'client.root']\nkey = 'ecdsa-p384'"):
        host.write(extra=extra)
        assert host.once().returncode == 0
        assert scopes(host) == URIS
    for lost in (host.base / "nothing", host.certs / ".certagent"):
        shutil.rmtree(lost, ignore_errors=True)
        lose(host)
        assert host.once().returncode == 0
        assert scopes(host) == URIS
    host.write(extra="[certs_dir.file.'client.root']\nkey = 'ecdsa-p256'")
    assert host.once().returncode == 0  # which keeps a generation
    shutil.rmtree(host.base / "state")
    lose(host)
    assert host.once().returncode == 0
    assert scopes(host) == URIS


def lose(host: Host) -> None:
    """Delete certificate and key."""
    for end in ("crt", "key"):
        (host.certs / f"client.root.{end}").unlink()
