"""Mistakes in the settings of remote authorities: each with its key and what to write instead."""

import pytest

from certagent.config import ConfigError, build, remote

EST = {"type": "est", "url": "https://est.example.com", "client_cert": "/e.crt", "client_key": "/e.key"}
COMMAND = {"type": "command", "command": ["/usr/local/bin/ca"]}
DROPBOX = {"type": "dropbox", "outbox": "/srv/out", "inbox": "/srv/in"}
PLAIN = "plain http is allowed to this host only: use https, or set allow_http = true"
URLS = {  # every setting that is the URL of a CA
    "acme": ("directory_url", {"contact": "ops@example.com", "terms_accepted": True}),
    "cfssl": ("url", {"auth_key": "/key"}),
    "est": ("url", {"client_cert": "/e.crt", "client_key": "/e.key"}),
    "step": ("url", {"provisioner": "jwk", "provisioner_key": "/jwk"}),
    "vault": ("url", {"role": "node", "token": "/token"}),
}
ACME = {"type": "acme", "directory_url": "https://ca.example.com/dir"}
DNS = {**ACME, "challenge": "dns-01", "dns_server": "ns1.example.com"}
SOUND = [
    EST,
    COMMAND,
    DROPBOX,
    ACME,
    DNS,
    {**EST, "label": "a.b-c"},
    {**COMMAND, "command": "/usr/local/bin/ca"},
    {**DNS, "dns_server": "", "dns_hook": ["/usr/local/bin/hook"]},
    {**DNS, "dns_key_name": "agent", "dns_key": "/etc/key"},
    {**ACME, "dns_key_name": "agent", "dns_hook": ["/usr/local/bin/hook"]},
    {**ACME, "eab_kid": "kid-1", "eab_key": "env:EAB"},
]
MISTAKES = [
    ({**EST, "client_cert": "", "client_key": ""}, "client_cert: must be an absolute path"),
    ({k: v for k, v in EST.items() if not k.startswith("client")}, "client_cert: no credential"),
    ({**EST, "username": "db1"}, "password: username and password belong together"),
    ({**EST, "username": "db1", "password": "hunter2"}, "password: name where the secret is, not the secret itself"),
    ({**EST, "label": "a/b"}, "label: must be one path segment"),
    ({**EST, "credential": "live"}, "credential: must be one of enrolment, leaf"),
    ({**EST, "url": "est.example.com"}, "url: write a URL"),
    (
        {**EST, "url": "https://ca/.well-known/est/hosts"},
        "url: write it without what follows /.well-known/est; a label",
    ),
    ({"type": "command"}, "command: is required"),
    ({**COMMAND, "command": ["ca"]}, "command: name the program by its absolute path"),
    ({**COMMAND, "command": []}, "command: write a list"),
    ({**COMMAND, "environment": {"CERTAGENT_NAME": "x"}}, "environment: 'CERTAGENT_NAME' must not be set here"),
    ({**COMMAND, "environment": {"A-B": "x"}}, "environment: 'A-B' must not be set here"),
    ({**COMMAND, "environment": {"A": 1}}, "environment: write a table of strings"),
    ({**COMMAND, "readable": ["ca"]}, "readable: must be an absolute path"),
    ({**COMMAND, "secret": "hunter2"}, "secret: name where the secret is"),
    ({"type": "dropbox", "outbox": "/srv/out"}, "inbox: is required"),
    ({**DROPBOX, "inbox": "/srv/out"}, "inbox: outbox and inbox must be two directories"),
    ({**DROPBOX, "inbox": "/srv/out/in"}, "inbox: outbox and inbox must be two directories"),
    ({**DROPBOX, "remind": "soon"}, "remind: write a duration"),
    ({**DNS, "dns_server": ""}, "challenge: dns-01 needs either dns_server"),
    ({**DNS, "dns_hook": ["/usr/local/bin/hook"]}, "challenge: dns-01 needs either dns_server"),
    ({**DNS, "dns_key_name": "agent"}, "dns_key: dns_key_name and dns_key belong together"),
    ({**DNS, "dns_key": "/etc/key"}, "dns_key: dns_key_name and dns_key belong together"),
    ({**ACME, "eab_kid": "kid-1"}, "eab_key: eab_kid and eab_key belong together"),
    ({**ACME, "eab_key": "/etc/key"}, "eab_key: eab_kid and eab_key belong together"),
]


def document(table: dict[str, object]) -> dict[str, object]:
    directory = {"path": "/certs", "owner": "root", "authority": "pki", "names": ["db1"]}
    return {"authority": {"pki": table}, "certs_dir": [directory]}


@pytest.mark.parametrize("table", SOUND)
def test_authority_minimal_settings_are_valid(table: dict[str, object]) -> None:
    """The minimal settings of each type are enough."""
    assert build("f", document(table)).authorities["pki"].type == table["type"]


@pytest.mark.parametrize(("table", "words"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_authority_setting_mistake_is_named_first(table: dict[str, object], words: str) -> None:
    """The mistake is named first; a secret in the wrong place is not repeated."""
    with pytest.raises(ConfigError) as caught:
        build("f", document(table))
    assert caught.value.errors[0].startswith(f"f: authority.pki.{words}")
    assert not [e for e in caught.value.errors if "hunter2" in e]


@pytest.mark.parametrize("kind", URLS)
def test_authority_plain_http_needs_allow_http(kind: str) -> None:
    """The configuration applies the same rule as each request, with the remedy."""
    key, more = URLS[kind]
    for host in ("ca.example.com", "10.0.0.5:8080", "127.0.0.1.example.com", "[2001:db8::1]"):
        table = {"type": kind, **more, key: f"http://{host}/x"}
        with pytest.raises(ConfigError) as caught:
            build("f", document(table))
        assert (f"f: authority.pki.{key}: {PLAIN}",) == caught.value.errors
        assert build("f", document({**table, "allow_http": True})).authorities["pki"].type == kind
    for good in ("http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost", "https://ca.example.com"):
        assert build("f", document({"type": kind, **more, key: good})).authorities["pki"].type == kind


def test_authority_urls_are_all_covered() -> None:
    """A new type with a URL belongs in the table above."""
    types = {kind: remote.ca_type(kind) for kind in remote.kinds()}
    found = {(kind, key) for kind, t in types.items() for key, s in t.settings.items() if s.read is remote.url}
    assert {(kind, key) for kind, (key, _) in URLS.items()} == found
