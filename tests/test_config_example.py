"""config.example.toml is held to the code: every setting is in it, and every default is the code's."""

import ast
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from socket import gethostname

import pytest

from certagent.config import Config, build, load
from certagent.config.remote import RemoteConfig, ca_type, kinds
from tests.parsing import nodes

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.toml"
SETTING = re.compile(r"^# ([a-z0-9_]+ = .*|\[authority\.[a-z]+\])$", re.MULTILINE)
SAID = {
    "renew_at",
    "warn",
    "critical",
    "minimum",
    "lifetime",
    "principal",
    "uris",
    "key_configured",  # that `key` stands there at all, not its value
    "roots",
}  # the default is a rule, shown as its outcome


def uncommented() -> Config:
    """The example with every setting that is commented out put in."""
    return build("example", tomllib.loads(SETTING.sub(r"\1", EXAMPLE.read_text())), gethostname())


def asked_for() -> set[str]:
    """Every key that the configuration's code reads from a table."""
    found = set()
    for path in (ROOT / "certagent" / "config").glob("*.py"):
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                key = node.args[0]
                named = isinstance(key, ast.Constant) and key.value != ""  # "" replaces the match of a pattern
                if node.func.attr in {"get", "require", "sub"} and named:
                    found.add(str(key.value))
                if isinstance(node.func.value, ast.Name) and len(node.args) > 1 and node.func.attr == "_asked":
                    found.add(str(key))
    return found | {"authority", "client_authority"}


def test_config_example_has_every_setting() -> None:
    """Every setting that the code reads is in the example."""
    text = EXAMPLE.read_text()
    missing = {k for k in asked_for() if not re.search(rf"^(# )?{k} = |^\[+([a-z_.]*\.)?{k}[.\]]", text, re.MULTILINE)}
    assert missing == set()


def shown(kind: str) -> list[str]:
    """The lines of the example that are about a remote type: its own block, and what all of them take."""
    blocks = EXAMPLE.read_text().split("\n\n")
    return [line for b in blocks if f"[authority.{kind}]" in b or "[authority.step]" in b for line in b.splitlines()]


@pytest.mark.parametrize("kind", kinds())
def test_config_example_has_every_remote_setting(kind: str) -> None:
    """In the block of its type, or for all of them; if the code has a default, it is shown."""
    found = {k for line in shown(kind) if (m := re.match(r"#\s+([a-z0-9_]+) = ", line)) for k in m.groups()}
    assert set(ca_type(kind).settings) | {"tls_roots", "issuing_fingerprints", "timeout", "client_cert"} <= found
    made = next(a.options for a in uncommented().authorities.values() if a.type == kind)
    assert isinstance(made, RemoteConfig)
    defaults = {k: s.default for k, s in ca_type(kind).settings.items() if s.default and not s.secret}
    assert defaults == {k: made.options[k] for k in defaults}


def test_config_example_is_valid_with_and_without_comments() -> None:
    """As it is, and with every comment removed, it is a configuration without errors."""
    assert load(str(EXAMPLE)).policies
    assert uncommented().policies


def test_config_example_defaults_are_the_codes() -> None:
    """Uncommenting the lines changes nothing, unless the default is a rule."""
    plain, full = load(str(EXAMPLE)), uncommented()
    assert plain.settings == full.settings
    assert plain.authorities == {name: full.authorities[name] for name in plain.authorities}
    before, after = plain.policies[0], full.policies[0]
    assert after.rotation.peers == ()  # by default the server's --join says it
    after = replace(after, rotation=replace(after.rotation, peers=None))
    assert replace(before, wants=()) == replace(after, wants=(), machine=before.machine)  # it is the host's
    for want in before.wants:
        other = after.want(want.name.stem)
        assert other is not None
        same = {key: getattr(want, key) for key in SAID}
        assert replace(want, key_owner=None) == replace(other, key_owner=None, **same)
