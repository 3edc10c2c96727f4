"""Mistakes of a configuration are found by their line, once each; what is not TOML or lacks is said."""

import os
import pwd
from datetime import timedelta
from pathlib import Path

import pytest

from certagent.cli import main
from certagent.config import ConfigError, load
from certagent.config.lines import lines_of
from tests.making import make_ca
from tests.moments import now

ME = pwd.getpwuid(os.geteuid()).pw_name
HEAD = '[authority.house]\ntype = "local"\ncreate = true\n'
DIRECTORY = f'[[certs_dir]]\npath = "/certs"\nowner = "{ME}"\nauthority = "house"\n'


def errors(base: Path, text: str) -> list[str]:
    """What is wrong with a file, without its name."""
    file = base / "c.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    return [e.removeprefix(str(file)) for e in caught.value.errors]


def test_line_of_each_key_and_table() -> None:
    """By the path that errors use: tables of arrays by number, quoted parts without quotation marks."""
    text = '# a\n[agent]\nrescan = "1s"\n[[certs_dir]]\npath = "/a"\n[[certs_dir]]\npath = "/b"\n'
    text += '[certs_dir.file."client.root"]\n  key = "x"\nprobe . a = [\n"b = c",\n]\n'
    assert lines_of(text) == {
        "agent": 2,
        "agent.rescan": 3,
        "certs_dir[0]": 4,
        "certs_dir": 4,
        "certs_dir[0].path": 5,
        "certs_dir[1]": 6,
        "certs_dir[1].path": 7,
        "certs_dir[1].file.client.root": 8,
        "certs_dir[1].file.client.root.key": 9,
        "certs_dir[1].file.client.root.probe.a": 10,
    }


TYPOS = [
    ("lifetime = 3\n", "", [":4: authority.house.lifetime: "]),
    (
        "",
        'clients = ["root"]\nlayuot = "standard"\n',
        [":9: certs_dir[0].layuot: unknown setting; did you "],
    ),
    ("", 'names = ["10.0.0.555", "fe80::1%eth0", "x y"]\n', [":8: certs_dir[0].names: neither a DNS name nor an IP "]),
    ("", 'clients = ["Root", "app"]\n', [":8: certs_dir[0].clients: no SQL user has capital letters: write 'root'"]),
]


@pytest.mark.parametrize(("house", "directory", "told"), TYPOS)
def test_error_begins_with_file_and_line(house: str, directory: str, told: list[str], tmp_path: Path) -> None:
    """As compilers do, so that an editor opens it there."""
    found = errors(tmp_path, HEAD + house + DIRECTORY + directory)
    assert [f.startswith(t) for f, t in zip(found, told, strict=True)] == [True] * len(told), found


@pytest.mark.parametrize(
    ("wrong", "right", "told"),
    [
        ('"local"', '"lcoal"', ":2: authority.house.type: must be one of "),
        ("[authority.house]", "[authorty.house]", ":1: authorty: unknown setting; did you mean 'authority'?"),
        (
            "[authority.house]",
            "[authority.huose]",
            ":7: certs_dir[0].authority: there is no [authority.house]; did ",
        ),
        ("[[certs_dir]]", "[certs_dir]", ":4: certs_dir: write [[certs_dir]], with double brackets"),
        ("[[certs_dir]]", "[[certs_dri]]", ":4: certs_dri: unknown setting; did you mean 'certs_dir'?"),
        ("path =", "pth =", ":5: certs_dir[0].pth: unknown setting; did you mean 'path'?"),
        ("owner =", "ownr =", ":6: certs_dir[0].ownr: unknown setting; did you mean 'owner'?"),
    ],
)
def test_one_typo_is_one_error(wrong: str, right: str, told: str, tmp_path: Path) -> None:
    """Nothing that follows from it is reported as well."""
    (found,) = errors(tmp_path, (HEAD + DIRECTORY).replace(wrong, right))
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("create = yes", "create: write true or false, in lower case"),
        ("create = True", "create: write true or false, in lower case"),
        ("lifetime = 30d", 'lifetime: put it in quotation marks, as in "30d"'),
        ("lifetime = “30d”", "write straight quotation marks"),
        ('lifetime = "30d', "lifetime: a quotation mark or a comma is missing"),
        ("directory = /var/lib", "directory: put text in quotation marks"),
        ("directory = 10.0.0.5", "directory: put text in quotation marks"),
        ('type = "none"', "type stands twice"),
        ("[authority.house]", "[authority.house] stands twice"),
        ("lifetime = 3 3", "Expected newline"),
        ("; a comment", "a comment begins with #"),
        ("// a comment", "a comment begins with #"),
    ],
)
def test_line_that_is_not_toml_is_explained(line: str, told: str, tmp_path: Path) -> None:
    """By what was probably meant, with the line."""
    (found,) = errors(tmp_path, f'[authority.house]\ntype = "local"\n{line}\n{DIRECTORY}')
    assert found.startswith(f":3: not valid TOML: {told}")


def test_list_that_does_not_end_is_named(tmp_path: Path) -> None:
    """The end of the file is not a line to look at."""
    (found,) = errors(tmp_path, HEAD + "lifetime = [1,")
    assert found == ": not valid TOML: Invalid value"


def test_empty_list_of_directories_is_an_error(tmp_path: Path) -> None:
    """There is nothing to do then."""
    assert errors(tmp_path, f"certs_dir = []\n{HEAD}") == [":1: certs_dir: at least one [[certs_dir]] is required"]


def told_of(base: Path, house: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of `config check`, and what it says on stderr without the file's name."""
    file = base / "c.toml"
    (base / "certs").mkdir(mode=0o700, exist_ok=True)
    own = DIRECTORY.replace("/certs", f"{base}/certs")
    file.write_text(f"[agent]\nstate_dir = '{base}/state'\nsocket = '{base}/s'\n[authority.house]\n{house}{own}")
    return main(["config", "check", "-c", str(file)]), capsys.readouterr().err.replace(str(base), "")


VAULT = 'type = "vault"\nurl = "https://ca.example.com"\ntls_fingerprint = "' + "00" * 32 + '"\nrole = "r"\n'


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("token = '{base}/none'", "token: /none does not exist"),
        ("token = 'env:CERTAGENT_UNSET_HERE'", "token: the environment has no CERTAGENT_UNSET_HERE"),
        ("token = '{base}'", "token:  is a directory"),
        ("token = '{base}/empty'", "token: /empty is empty"),
        ("token = 'credential:t'\ntls_roots = '{base}/none'", "tls_roots: /none does not exist"),
        ("token = 'credential:t'\nclient_cert = '{base}/c.toml'\nclient_key = '{base}/c.toml/x'", "client_key: "),
    ],
)
def test_config_check_names_what_the_host_lacks(
    setting: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configuration is valid, and does not work: exit 1, and the line."""
    (tmp_path / "empty").touch()
    code, said = told_of(tmp_path, f"{VAULT}{setting.format(base=tmp_path)}\n", capsys)
    assert (code, told in said, said.startswith("/c.toml:")) == (1, True, True), said


@pytest.mark.usefixtures("usual_umask")
def test_config_check_refuses_the_secrets_that_a_request_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A private key, by its name or by a link; and where there is an agent, what others could change."""
    token, key, link, others = (tmp_path / name for name in ("token", "node.key", "link", "others"))
    (tmp_path / "state").mkdir(mode=0o700)
    token.write_text("s.token\n")
    key.write_bytes(make_ca().key)
    link.symlink_to(key)
    others.mkdir()
    (others / "token").write_text("s.token\n")
    others.chmod(0o777)
    assert told_of(tmp_path, f"{VAULT}token = '{token}'\n", capsys) == (0, "")
    for place, told in ((key, "/node.key contains a private key"), (link, "/link contains a private key")):
        code, said = told_of(tmp_path, f"{VAULT}token = '{place}'\n", capsys)
        assert (code, told in said) == (1, True), said
    for setting in ("token = '{}'", "token = 'credential:t'\ntls_roots = '{}'"):
        code, said = told_of(tmp_path, f"{VAULT}{setting.format(others / 'token')}\n", capsys)
        assert (code, "everybody may write /others; chmod go-w /others" in said) == (1, True), said


@pytest.mark.usefixtures("usual_umask")
def test_config_check_names_an_embedded_ca_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that does not exist, that has expired, whose key is missing, or that is no certificate."""
    place = tmp_path / "ca"
    place.mkdir()
    house = f'type = "local"\ndirectory = "{place}"\n'
    assert "there is no /ca/ca.crt; copy an existing CA there" in told_of(tmp_path, house, capsys)[1]
    assert told_of(tmp_path, f"{house}create = true\n", capsys) == (0, "")
    fresh, old = make_ca(), make_ca(days=1, at=now() - timedelta(days=2))
    (place / "ca.crt").write_bytes(fresh.cert)
    assert "/ca/ca.key does not exist" in told_of(tmp_path, house, capsys)[1]
    (place / "ca.key").write_bytes(fresh.key)
    assert told_of(tmp_path, house, capsys) == (0, "")
    (place / "ca.crt").write_bytes(old.cert)
    code, said = told_of(tmp_path, house, capsys)
    assert (code, "authority.house.directory: /ca/ca.crt expired at " in said) == (1, True)
    (place / "ca.crt").write_bytes(b"no certificate")
    assert told_of(tmp_path, house, capsys)[0] == 1


def checked_text(base: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The same of a whole file."""
    file = base / "c.toml"
    file.write_text(f"[agent]\nstate_dir = '{base}/state'\nsocket = '{base}/s'\n{text}")
    code = main(["config", "check", "-c", str(file)])
    return code, capsys.readouterr().err.replace(str(base), "")


@pytest.mark.usefixtures("usual_umask")
def test_config_check_warns_of_a_directory_that_does_not_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the remedy, or the name beside it that is probably meant; exit 0, because it may be made later."""
    own = DIRECTORY.replace("/certs", f"{tmp_path}/certs")
    code, said = checked_text(tmp_path, HEAD + own, capsys)
    create = f"create it: install -d -m 0700 -o {ME} /certs"
    assert (code, said) == (0, f"/c.toml:8: certs_dir[0].path: /certs does not exist; {create}\n")
    (tmp_path / "cert").mkdir()
    assert checked_text(tmp_path, HEAD + own, capsys)[1].endswith("/certs does not exist; did you mean /cert?\n")
    (tmp_path / "certs").mkdir()
    assert checked_text(tmp_path, HEAD + own, capsys) == (0, "")
    code, said = checked_text(tmp_path, f"[metrics]\ntextfile = '{tmp_path}/collector'\n{HEAD}{own}", capsys)
    assert (code, said[:58]) == (0, "/c.toml:5: metrics.textfile: /collector does not exist; it")
    roots = f"[certs_dir.file.ui]\nroots = '{tmp_path}/roots.pem'\n"
    code, said = checked_text(tmp_path, HEAD + own + roots, capsys)
    assert (code, said) == (1, "/c.toml:12: certs_dir[0].file.ui.roots: /roots.pem does not exist\n")


@pytest.mark.usefixtures("usual_umask")
def test_config_check_names_a_directory_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing will ever be in it: exit 1."""
    (tmp_path / "certs").write_text("x")
    code, said = checked_text(tmp_path, HEAD + DIRECTORY.replace("/certs", f"{tmp_path}/certs"), capsys)
    assert (code, said) == (1, "/c.toml:8: certs_dir[0].path: /certs is not a directory\n")


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
def test_config_check_names_a_directory_of_another_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`owner` is another user than the one who has the directory: made by root, or a mistake in the setting."""
    (tmp_path / "certs").mkdir()
    os.chown(tmp_path / "certs", 65534, 65534)
    code, said = told_of(tmp_path, 'type = "local"\ncreate = true\n', capsys)
    assert (code, "certs_dir[0].owner: /certs belongs to nobody: write 'nobody', or chown " in said) == (1, True)


PLACES = [
    (
        "agent",
        'names = ["a"]',
        "agent.names: unknown setting; it belongs in [[certs_dir]] or [certs_dir.file.NAME] or [c",
    ),
    ("agent", 'textfile = "/x"', "agent.textfile: unknown setting; it belongs in [metrics]"),
    ("metrics", 'socket = "/x"', "metrics.socket: unknown setting; it belongs in [agent]"),
    ("process", 'clients = ["a"]', "certs_dir[0].process.clients: unknown setting; it belongs in [[certs_dir]]"),
    ("ocsp", 'pid_file = "/x"', "certs_dir[0].ocsp.pid_file: unknown setting; it belongs in [certs_dir.process]"),
    ("file.node", 'layout = "tenant"', "certs_dir[0].file.node.layout: unknown setting; it belongs in [[certs_dir]]"),
    ("house", 'renew_at = "1/2"', "authority.house.renew_at: unknown setting; it belongs in [certs_dir.file.NAME]"),
    ("certs_dir", 'pid_file = "/x"', "certs_dir[0].pid_file: unknown setting; it belongs in [certs_dir.process]"),
    (
        "certs_dir",
        "create = true",
        "certs_dir[0].create: unknown setting; it belongs in [authority.NAME] of type local",
    ),
    ("certs_dir", "[process]", "process: unknown setting; it belongs in [[certs_dir]]: write [certs_dir.process]"),
    ("certs_dir", "[file.ui]", "file: unknown setting; it belongs in [[certs_dir]]: write [certs_dir.file.NAME]"),
    ("certs_dir", "[certs_dir.agent]", "certs_dir[0].agent: unknown setting; it belongs in a table of its own: write "),
    ("certs_dir", "[rotation]", "rotation: unknown setting; it belongs in [[certs_dir]]: write [certs_dir.rotation]"),
    ("certs_dir", 'pid_fiel = "/x"', "certs_dir[0].pid_fiel: unknown setting; did you mean 'pid_file' in [certs_dir."),
]


@pytest.mark.parametrize(("table", "setting", "told"), PLACES)
def test_setting_in_the_wrong_table_says_where_it_belongs(table: str, setting: str, told: str, tmp_path: Path) -> None:
    """Every table: by the settings that each of them has; a similar name elsewhere if none here is."""
    heads = {"house": "", "certs_dir": "", "agent": "[agent]", "metrics": "[metrics]"}
    head = heads.get(table, f"[certs_dir.{table}]")
    own = f"{head}\n{setting}\n"
    house, directory = (own, "") if table in {"house", "agent", "metrics"} else ("", own)
    (found,) = errors(tmp_path, HEAD + house + DIRECTORY + directory)
    assert found.partition(": ")[2].startswith(told), found


LOCAL = "ca_cert, ca_key, ca_lifetime, create, crl_url, directory, key, lifetime, ocsp_url"
OF_OTHERS = [
    ("local", "url", "https://ca", f"its settings are {LOCAL}; url is for type cfssl, est, step, vault"),
    ("local", "role", "r", f"its settings are {LOCAL}; role is for type vault"),
    ("local", "proxy", "http://a", f"its settings are {LOCAL}; proxy is for type acme, cfssl, command, dropbox, est, "),
    ("none", "url", "https://ca", "it has no settings; url is for type cfssl, est, step, vault"),
    ("none", "create", "x", "it has no settings; create is for type local"),
    ("dropbox", "url", "https://ca", "its settings are allow_http, client_cert, "),
]


@pytest.mark.parametrize(("kind", "setting", "value", "told"), OF_OTHERS)
@pytest.mark.parametrize("name", ["house", "a.b"])
def test_setting_of_another_type_of_authority_is_said_as_that(
    kind: str, setting: str, value: str, told: str, name: str, tmp_path: Path
) -> None:
    """It stands in the right table: what the type takes is said, and which types take the setting."""
    text = f"[authority.'{name}']\ntype = '{kind}'\n{setting} = '{value}'\n"
    if kind == "dropbox":
        text += "outbox = '/out'\ninbox = '/in'\n"
    (found,) = errors(tmp_path, text + DIRECTORY.replace("house", name))
    begin = f':3: authority.{name}.{setting}: unknown setting; type "{kind}" takes no {setting}: '
    assert found.startswith(begin + told), found


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_that_is_not_utf8_is_found_by_its_line(mark: bytes, tmp_path: Path) -> None:
    """The line and the key, in a comment the line alone; no value is repeated, and a byte order mark is no byte."""
    file = tmp_path / "c.toml"
    for line, where in ((b"directory = '/caf\xe9'", "directory: "), (b"# caf\xe9", "")):
        file.write_bytes(mark + b"# \xc3\xa9\n[authority.house]\n" + line + b"\n" + DIRECTORY.encode())
        with pytest.raises(ConfigError) as caught:
            load(str(file))
        told = f"{file}:3: not valid TOML: {where}a character is not UTF-8; save the file as UTF-8"
        assert (len(caught.value.errors), caught.value.errors[0].startswith(told)) == (1, True), caught.value.errors


def test_setting_that_no_table_has_is_unknown(tmp_path: Path) -> None:
    """Nothing is guessed."""
    assert errors(tmp_path, f"{HEAD}{DIRECTORY}frobnicate = 1\n") == [":8: certs_dir[0].frobnicate: unknown setting"]


def test_required_setting_in_the_wrong_table_is_one_error(tmp_path: Path) -> None:
    """It is not missing as well where it belongs."""
    (found,) = errors(tmp_path, f"[agent]\nowner = '{ME}'\n{HEAD}" + DIRECTORY.replace(f'owner = "{ME}"\n', ""))
    assert found == ":2: agent.owner: unknown setting; it belongs in [[certs_dir]]"


PRIVATE = [
    ("type = 'cfssl'\nurl = 'https://ca'\nauth_key = 'env:HOME'\n", True),
    ("type = 'cfssl'\nurl = 'http://127.0.0.1:1'\nauth_key = 'env:HOME'\n", False),
    (f"type = 'cfssl'\nurl = 'https://ca'\nauth_key = 'env:HOME'\ntls_fingerprint = '{'00' * 32}'\n", False),
    ("type = 'est'\nurl = 'https://ca'\nusername = 'u'\npassword = 'env:HOME'\n", True),
    ("type = 'vault'\nurl = 'https://ca'\nrole = 'r'\nauth = 'token'\ntoken = 'env:HOME'\n", True),
    ("type = 'step'\nurl = 'https://ca'\nprovisioner = 'p'\nprovisioner_key = 'env:HOME'\n", True),
    (
        f"type = 'step'\nurl = 'https://ca'\nprovisioner = 'p'\nprovisioner_key = 'env:HOME'\nroot = '{'00' * 32}'\n",
        False,
    ),
    ("type = 'acme'\ndirectory_url = 'https://ca'\n", False),
]


@pytest.mark.parametrize(("house", "told"), PRIVATE)
@pytest.mark.usefixtures("usual_umask")
def test_config_check_warns_where_any_ca_of_the_system_may_vouch(
    house: str, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A private CA over https without tls_roots and tls_fingerprint: a warning, exit 0; ACME's CA is often public."""
    warned = (
        "/c.toml:6: authority.house.url: it is verified by the system's roots; set tls_roots or tls_fingerprint to "
    )
    code, said = told_of(tmp_path, house, capsys)
    assert (code, said) == (0, f"{warned}trust its CA alone\n" if told else "")
