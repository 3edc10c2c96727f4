"""Mistakes in the settings of `est`, `command` and `dropbox`: each with its key and what to write instead."""

import pytest

from certagent.config import ConfigError, build

EST = {"type": "est", "url": "https://est.example.com", "client_cert": "/e.crt", "client_key": "/e.key"}
COMMAND = {"type": "command", "command": ["/usr/local/bin/ca"]}
DROPBOX = {"type": "dropbox", "outbox": "/srv/out", "inbox": "/srv/in"}
SOUND = [EST, COMMAND, DROPBOX, {**EST, "label": "a.b-c"}, {**COMMAND, "command": "/usr/local/bin/ca"}]
MISTAKES = [
    ({**EST, "client_cert": "", "client_key": ""}, "client_cert: must be an absolute path"),
    ({k: v for k, v in EST.items() if not k.startswith("client")}, "client_cert: who asks?"),
    ({**EST, "username": "db1"}, "password: username and password belong together"),
    ({**EST, "username": "db1", "password": "hunter2"}, "password: name where it is, never the secret itself"),
    ({**EST, "label": "a/b"}, "label: one path segment"),
    ({**EST, "credential": "live"}, "credential: must be one of enrolment, leaf"),
    ({**EST, "url": "est.example.com"}, "url: write a URL"),
    ({"type": "command"}, "command: is required"),
    ({**COMMAND, "command": ["ca"]}, "command: name the program by its absolute path"),
    ({**COMMAND, "command": []}, "command: write a list"),
    ({**COMMAND, "environment": {"CERTAGENT_NAME": "x"}}, "environment: 'CERTAGENT_NAME' cannot be set here"),
    ({**COMMAND, "environment": {"A-B": "x"}}, "environment: 'A-B' cannot be set here"),
    ({**COMMAND, "environment": {"A": 1}}, "environment: write a table of strings"),
    ({**COMMAND, "readable": ["ca"]}, "readable: must be an absolute path"),
    ({**COMMAND, "secret": "hunter2"}, "secret: name where it is"),
    ({"type": "dropbox", "outbox": "/srv/out"}, "inbox: is required"),
    ({**DROPBOX, "inbox": "/srv/out"}, "inbox: the outbox and the inbox must be two directories"),
    ({**DROPBOX, "inbox": "/srv/out/in"}, "inbox: the outbox and the inbox must be two directories"),
    ({**DROPBOX, "remind": "soon"}, "remind: write a duration"),
]


def document(table: dict[str, object]) -> dict[str, object]:
    directory = {"path": "/certs", "owner": "root", "authority": "pki", "names": ["db1"]}
    return {"authority": {"pki": table}, "certs_dir": [directory]}


@pytest.mark.parametrize("table", SOUND)
def test_sound(table: dict[str, object]) -> None:
    """The least that each type needs is enough."""
    assert build("f", document(table)).authorities["pki"].type == table["type"]


@pytest.mark.parametrize(("table", "words"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_mistakes(table: dict[str, object], words: str) -> None:
    """The mistake is named first; a secret that stands in the wrong place is not repeated."""
    with pytest.raises(ConfigError) as caught:
        build("f", document(table))
    assert caught.value.errors[0].startswith(f"f: authority.pki.{words}")
    assert not [e for e in caught.value.errors if "hunter2" in e]
