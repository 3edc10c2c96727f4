"""The set-ups of docs/authorities/ are taken from there: loaded, and the servers' side run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from certagent.config import build
from tests.authority.asker import Asker, facts, trusted
from tests.authority.documented import here
from tests.servers.cfssl import Cfssl
from tests.servers.openbao import OpenBao
from tests.servers.process import ROOT
from tests.servers.stepca import StepCa

DOCS = ROOT / "docs" / "authorities"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMES = ("db1.example.com", "10.0.0.5")
TENANT = "CN=123,OU=Tenants,O=Cockroach"
TENANT_ASKED: dict[str, Any] = {"names": (), "principal": "123", "unit": "Tenants", "server": False}


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a document in one language."""
    return [body for kind, body in BLOCK.findall((DOCS / f"{name}.md").read_text()) if kind == language]


EXAMPLES = [(n, text) for n in ("step", "vault", "cfssl") for text in blocks(n, "toml")]


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(EXAMPLES)])
def test_authority_page_examples_are_valid(name: str, text: str) -> None:
    """Each configuration is complete and without errors, where its user exists."""
    config = build(name, here(text))
    assert [(name, ("pki",))] == [(config.authorities["pki"].type, p.wants[1].authorities) for p in config.policies]


@pytest.mark.real
@pytest.mark.slow
def test_step_page_provisioner(tmp_path: Path) -> None:
    """The provisioner: CN, names and both usages by the built-in template, a month by default, a user without names."""
    ca = StepCa(tmp_path)
    documented, tenants = (json.loads(text) for text in blocks("step", "json"))
    public = {k: v for k, v in ca.jwk.items() if k != "d"}
    assert set(public) == set(documented["key"])
    other = public | {"kid": "another"}
    ca.configure(provisioners=[documented | {"key": public}, tenants | {"key": other}])
    options = {"url": ca.url, "root": [ca.fingerprint], "provisioner": documented["name"]}
    mine = Asker("step", options, {"provisioner_key": ca.provisioner_key})
    with ca:
        leaf = facts(mine.issue(names=NAMES))[0]
        user = facts(mine.issue(names=(), principal="root", server=False))[0]
        too_long = mine.refusal(mine.node(lifetime=91 * 86400.0))
        mine.options = {**options, "provisioner": tenants["name"]}
        mine.secrets = {"provisioner_key": json.dumps(ca.jwk | other)}
        assert TENANT == facts(mine.issue(**TENANT_ASKED))[0].subject
    assert (leaf.common_names, leaf.dns, leaf.ips) == (("node",), NAMES[:1], NAMES[1:])
    assert set(leaf.eku or ()) == {"serverAuth", "clientAuth"}
    assert (leaf.not_after - leaf.not_before).days == 30
    assert (user.common_names, user.dns) == (("root",), ("root",))
    assert too_long.refused


def words_of(script: str) -> list[list[str]]:
    """The commands of a script, line continuations worked in."""
    return [shlex.split(line) for line in script.replace("\\\n", " ").splitlines()]


def written(commands: list[list[str]], path: str) -> dict[str, str]:
    """What `bao write PATH key=value ...` sends."""
    (words,) = (w for w in commands if w[1] == "write" and path in w)
    return dict(w.split("=", 1) for w in words if "=" in w)


@pytest.mark.real
@pytest.mark.slow
def test_vault_page_role_and_policy(tmp_path: Path) -> None:
    """Role, policy and AppRole as documented: they sign for node, users, names and addresses, and refuse others."""
    commands = words_of(blocks("vault", "sh")[0])
    with OpenBao(tmp_path) as bao:
        bao.call("POST", "pki/roles/cockroach", written(commands, "pki/roles/cockroach"))
        bao.call("PUT", "sys/policies/acl/cockroach-host", {"policy": blocks("vault", "hcl")[0]})
        host = "auth/approle/role/cockroach-host"
        bao.call("POST", host, written(commands, host))
        shown: dict[str, Any] = bao.call("GET", f"{host}/role-id")["data"]
        shown |= bao.call("POST", f"{host}/secret-id", {})["data"]
        secrets = {"role_id": shown["role_id"], "secret_id": shown["secret_id"]}
        mine = Asker("vault", {"url": bao.url, "role": "cockroach", "auth": "approle"}, secrets, trusted(bao.ca))
        leaf = facts(mine.issue(names=NAMES))[0]
        user = facts(mine.issue(names=(), principal="root", server=False))[0]
        bao.call("POST", "pki/roles/cockroach", written(commands, "pki/roles/cockroach") | {"ou": "Tenants"})
        assert TENANT == facts(mine.issue(**TENANT_ASKED | {"principal": "root"}))[0].subject.replace("root", "123")
        others = [mine.refusal(mine.node(names=("db1.example.org",))), mine.refusal(mine.node(principal="mallory"))]
    assert (leaf.common_names, leaf.dns, leaf.ips) == (("node",), NAMES[:1], NAMES[1:])
    assert (user.common_names, user.sans) == (("root",), ())
    assert [True, True] == [error.refused for error in others]


class Documented(Cfssl):
    """CFSSL with the policy of its document, but for the key."""

    def policy(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(blocks("cfssl", "json")[0])
        found["auth_keys"]["hosts"]["key"] = self.auth_key
        return found


@pytest.mark.real
@pytest.mark.slow
def test_cfssl_page_policy(tmp_path: Path) -> None:
    """The policy: a month for the node, its names and its users; another name is refused."""
    with Documented(tmp_path) as ca:
        mine = Asker("cfssl", {"url": ca.url, "profile": "node"}, {"auth_key": ca.auth_key}, trusted(ca.ca))
        leaf = facts(mine.issue(names=NAMES))[0]
        user = facts(mine.issue(names=(), principal="root", server=False))[0]
        other = mine.refusal(mine.node(names=("db1.example.org",)))
        mine.options = {**mine.options, "profile": ""}
        assert TENANT == facts(mine.issue(**TENANT_ASKED))[0].subject
    assert (leaf.common_names, leaf.dns, leaf.ips) == (("node",), NAMES[:1], NAMES[1:])
    assert (leaf.not_after - leaf.not_before).days == 30
    assert user.common_names == ("root",)
    assert other.refused
