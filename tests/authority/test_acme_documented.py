"""The set-ups of docs/authorities/acme.md are taken from there: loaded; and step-ca's side run."""

import json
import tomllib
from pathlib import Path

import pytest

from certagent import x509
from certagent.authority.messages import Issued
from certagent.config import build
from certagent.config.remote import RemoteConfig, ca_type
from tests.authority.asking import Client
from tests.authority.test_documented import DOCS, blocks
from tests.servers.process import free_address
from tests.servers.stepca import StepCa

DIRECTORY = """
[[certs_dir]]
path = "/var/lib/cockroach/certs"
owner = "root"
"""
EXAMPLES = blocks("acme", "toml")


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_acme_page_examples_are_valid(text: str) -> None:
    """Each configuration is without errors; one that has only an authority is completed with a certs directory."""
    whole = text.replace('owner = "cockroach"', 'owner = "root"') + ("" if "[[certs_dir]]" in text else DIRECTORY)
    config = build("acme.md", tomllib.loads(whole))
    assert [a.type for a in config.authorities.values() if isinstance(a.options, RemoteConfig)] == ["acme"]


def test_acme_page_first_example_issues_ui_only() -> None:
    """The first example: only `ui` comes from Let's Encrypt, and no trust bundle is made of its roots."""
    config = build("acme.md", tomllib.loads(EXAMPLES[0].replace('owner = "cockroach"', 'owner = "root"')))
    asked = {w.name.stem: w.authorities for w in config.policies[0].wants if w.authorities}
    assert {"ui": ("letsencrypt",)} == asked


def test_acme_page_names_every_setting() -> None:
    """The page documents every setting of the type."""
    text = (DOCS / "acme.md").read_text()
    assert [key for key in ca_type("acme").settings if f"`{key}`" not in text] == []


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.root
def test_acme_page_step_ca_provisioner_issues_node(tmp_path: Path) -> None:
    """The provisioner on the page issues certificates that cockroach accepts for `node`."""
    ca = StepCa(tmp_path)
    ca.configure(provisioners=[json.loads(text) for text in blocks("acme", "json")])
    address = free_address()
    with ca:
        answer = Client(ca.directory_url, ca.root, {"listen_address": address}).ask("issue", (address,))
    assert isinstance(answer, Issued)
    leaf = x509.parse_certificates(answer.chain.encode())[0]
    assert (("node",), {"serverAuth", "clientAuth"}) == (leaf.common_names, set(leaf.eku or ()))
