"""config.example.toml is held to the code: every setting is in it, and every default is the code's."""

import ast
import re
import tomllib
from dataclasses import replace
from pathlib import Path

from certagent.config import Config, build, load

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.toml"
SETTING = re.compile(r"^# ([a-z_]+ = .*|\[authority\.[a-z]+\])$", re.MULTILINE)
SAID = {
    "renew_at",
    "warn",
    "critical",
    "minimum",
    "lifetime",
    "principal",
}  # the default is a rule, shown as its outcome


def uncommented() -> Config:
    """The example with every setting that is commented out put in."""
    return build("example", tomllib.loads(SETTING.sub(r"\1", EXAMPLE.read_text())))


def asked_for() -> set[str]:
    """Every key that the configuration's code reads from a table."""
    found = set()
    for path in (ROOT / "certagent" / "config").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                key = node.args[0]
                if node.func.attr in {"get", "require", "sub"} and isinstance(key, ast.Constant):
                    found.add(str(key.value))
                if isinstance(node.func.value, ast.Name) and len(node.args) > 1 and node.func.attr == "_asked":
                    found.add(str(key))
    return found | {"authority", "client_authority"}


def test_every_setting_is_in_the_example() -> None:
    """What the code reads, a reader finds."""
    text = EXAMPLE.read_text()
    missing = {k for k in asked_for() if not re.search(rf"^(# )?{k} = |^\[+([a-z_.]*\.)?{k}[.\]]", text, re.MULTILINE)}
    assert missing == set()


def test_the_example_is_sound_both_ways() -> None:
    """As it stands, and with every comment taken away, it is a configuration without errors."""
    assert load(str(EXAMPLE)).policies
    assert uncommented().policies


def test_the_defaults_are_the_codes() -> None:
    """Taking the comments away changes nothing, but where the default is a rule."""
    plain, full = load(str(EXAMPLE)), uncommented()
    assert (plain.settings, plain.authorities) == (full.settings, full.authorities)
    before, after = plain.policies[0], full.policies[0]
    assert replace(before, wants=()) == replace(after, wants=())
    for want in before.wants:
        other = after.want(want.name.stem)
        assert other is not None
        same = {key: getattr(want, key) for key in SAID}
        assert replace(want, key_owner=None) == replace(other, key_owner=None, **same)
