"""The command line's edges: where -c may stand, what --help says, files that are no configuration, what is missing."""

import grp
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from certagent.cli import VERBS, guarded, main, parser, plan
from certagent.cli.common import Reply, owner_of, show
from certagent.cli.plan import text
from certagent.core.decide import decide
from certagent.core.status import certs_dir, plan_document
from certagent.posix.as_user import apart
from tests.core.building import NOW, pair, policy, process, served, snapshot
from tests.system.running import looked, open_tmp

CONFIG = """
[agent]
state_dir = "{base}/state"
socket = "{base}/control.sock"
[authority.house]
type = "local"
directory = "{base}/ca"
create = true
[authority.public]
type = "acme"
directory_url = "https://127.0.0.1:1/directory"
terms_accepted = true
[[certs_dir]]
path = "{base}/certs"
owner = "{owner}"
authority = "house"
names = ["localhost"]
[certs_dir.file.ui]
authority = "public"
"""


def configured(base: Path) -> str:
    file = base / "config.toml"
    file.write_text(CONFIG.format(base=base, owner=base.owner()))
    return str(file)


@pytest.mark.usefixtures("usual_umask")
def test_option_c_before_or_after_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`certagent -c FILE VERB` is `certagent VERB -c FILE`."""
    file = configured(tmp_path)
    (tmp_path / "certs").mkdir(mode=0o700)
    assert main(["-c", file, "config", "check"]) == 0
    assert main(["config", "check", "-c", file]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second == f"{file}: ok: certs directories: {tmp_path}/certs; authorities: house, public"
    assert parser().parse_args(["status"]).config in {os.environ.get("CERTAGENT_CONFIG"), "/etc/certagent/config.toml"}


@pytest.mark.usefixtures("usual_umask")
def test_config_check_says_apart_what_is_configured_and_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That a key file is missing does not read as if the directories and authorities were."""
    file = configured(tmp_path)
    assert main(["config", "check", "-c", file]) == 0
    head = f"{file}: ok: certs directories: {tmp_path}/certs; authorities: house, public"
    assert capsys.readouterr().out.splitlines() == [head, "  not all of it exists yet: 1 warning"]
    (tmp_path / "certs").mkdir(mode=0o700)
    text = Path(file).read_text()
    Path(file).write_text(
        text.replace("terms_accepted = true", f'terms_accepted = true\ntls_roots = "{tmp_path}/none"')
    )
    assert main(["config", "check", "-c", file]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["  this host lacks something that it names: 1 warning"]


@pytest.mark.parametrize("said", ["-3", "0", "many", "²", "1.5"])
def test_history_limit_takes_a_positive_number(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`history --limit` takes a number from 1 on; anything else is a mistake, not an empty history."""
    with pytest.raises(SystemExit) as ended:
        main(["history", f"--limit={said}"])
    assert ended.value.code == 64
    assert "is not a number of 1 or more" in capsys.readouterr().err


def test_plan_new_process_is_no_work() -> None:
    """A process that is seen for the first time is shown, and counts as nothing to do."""
    found = snapshot(pair("ca"), pair(), processes=(process(),), served=(served(),))
    told = text({"certs_dirs": [{"path": "/certs", **plan_document(policy(), found, NOW)}]})
    assert "/certs: nothing to do now, nothing blocked" in told
    assert "presume" in told


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["statsu"], "status"),
        (["-c", "FILE", "paln"], "plan"),
        (["config", "chekc"], "check"),
        (["authority", "tset", "house"], "test"),
        (["authority", "account", "house", "rolover"], "rollover"),
        (["completion", "bsh"], "bash"),
    ],
)
def test_word_that_is_mistyped_names_the_one_that_is_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verbs and their words: exit 64, and what is similar."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert (ended.value.code, capsys.readouterr().err.endswith(f"; did you mean {meant!r}?\n")) == (64, True)


def test_word_that_is_like_no_other_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is guessed."""
    with pytest.raises(SystemExit):
        main(["xyzzy"])
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["run"], ["config", "check"], ["authority", "test"], ["retire"]])
def test_help_says_what_a_verb_does(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """--help of a verb begins with its line in the list of verbs."""
    with pytest.raises(SystemExit) as ended:
        main([*verb, "--help"])
    assert ended.value.code == 0
    described = capsys.readouterr().out.split("\n\n")[1]
    assert described.strip()
    assert not described.startswith(("options", "positional"))


@pytest.mark.parametrize("content", [b"\xdb\x00\x01", b"agent = 3\n", b"foo = ["])
@pytest.mark.parametrize("verb", [["status"], ["plan"], ["renew", "node"], ["reload"], ["history"], ["check"]])
def test_configuration_unreadable_exits_64_with_its_name(
    content: bytes, verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback: exit 64 and the file. A command never goes to the agent of another configuration instead."""
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    code = main([*verb, "-c", str(file)])
    told = capsys.readouterr().err
    assert (code, told.startswith(f"{file}:")) == (64, True)


@pytest.mark.parametrize("verb", [*VERBS])
def test_configuration_named_and_absent_stops_every_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 64, before anything is asked, read or changed: whatever the verb is, its agent is not the default one."""
    words = {"authority": ["test", "house"], "config": ["check"], "completion": ["bash"], "advise": ["ocsp"]}
    words |= {"bundle": ["show"], "rotation": ["status"]}
    named = {"renew", "rollback", "clear", "retire"}
    argv = ["-c", "/nowhere/config.toml", verb, *words.get(verb, ["node"] if verb in named else [])]
    assert main(argv) == 64
    assert capsys.readouterr().err.startswith("/nowhere/config.toml: cannot be read: ")


@pytest.mark.parametrize(
    ("said", "meant"),
    [("10s", 10), ("10", 10), ("0.5", 0.5), ("250ms", 0.25), ("2m", 120), ("1h", 3600), ("900d", 604800)],
)
def test_time_to_wait_is_duration_or_seconds(said: str, meant: float) -> None:
    """As durations of the configuration are written; a bare number is seconds, as before; a week at most."""
    assert parser("renew").parse_args(["renew", "node", "--wait", said]).wait == meant
    assert parser("run").parse_args(["run", "--deadline", said]).deadline == meant


@pytest.mark.parametrize("said", ["", "soon", "-1", "1 s", "1e3", "nan", "inf", "\u0661s"])
def test_time_to_wait_that_is_none_is_a_mistake(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names what can be written."""
    with pytest.raises(SystemExit) as ended:
        main(["reload", f"--wait={said}"])
    assert ended.value.code == 64
    assert 'write "10s", "2m", or a number of seconds' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("usual_umask")
def test_status_without_agent_is_not_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`agent.down` where the configuration expects an agent; not where a timer runs `run --once`."""
    file = Path(configured(tmp_path))
    (tmp_path / "certs").mkdir(mode=0o700)
    main(["status", "-c", str(file)])
    assert "warning agent.down: no agent answers at" in capsys.readouterr().out
    file.write_text(file.read_text().replace("[agent]", "[agent]\nresident = false"))
    main(["status", "-c", str(file)])
    assert "agent.down" not in capsys.readouterr().out


def test_plan_is_not_quiet_under_critical_finding() -> None:
    """Exit 2, also where nothing can be done now; a warning leaves it at 0."""
    for severity, code in (("critical", 2), ("warning", 0)):
        finding = {"code": "cert.untrusted", "severity": severity, "file": "node.crt", "message": "", "remedy": ""}
        quiet = {"path": "/certs", "actions": [], "steps": [], "held": [], "findings": [finding], "wake_at": None}
        assert plan.reply_of({"certs_dirs": [quiet]}).code == code


@pytest.mark.usefixtures("usual_umask")
def test_state_directory_not_creatable_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the directory, the reason and the setting."""
    file = configured(tmp_path)
    (tmp_path / "state").symlink_to("/proc/nowhere/state")
    assert main(["run", "--once", "-c", file]) == 3
    assert "or set agent.state_dir" in capsys.readouterr().err


@pytest.mark.slow
def test_plan_of_missing_directory_shows_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3; the finding and its remedy are in the plan, and no time without a meaning."""
    assert main(["plan", "-c", configured(tmp_path)]) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert f"dir.missing {tmp_path}/certs: " in told
    assert "remedy: install -d" in told
    assert "next check" not in told


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "  next: issue node: its renewal is due (2026-11-24 12:01:20Z)"),
        ({"actions": [{"action": "issue", "subject": "node", "reason": "due"}]}, ""),
        ({"held": [{"action": "issue", "file": "node", "reason": "a pause", "at": None, "refused": False}]}, ""),
        ({"next": None}, ""),
    ],
)
def test_plan_shows_what_follows_once(changes: dict[str, Any], line: str) -> None:
    """The next renewal, where it is not among what is done now or blocked until then."""
    step = {"action": "issue", "file": "node", "at": "2026-11-24T12:01:20.000Z", "reason": "its renewal is due"}
    row = {"path": "/certs", "actions": [], "steps": [], "held": [], "findings": [], "wake_at": None, "next": step}
    shown = text({"certs_dirs": [{**row, **changes}]}, 100)
    assert [each for each in shown.splitlines() if each.startswith("  next:")] == ([line] if line else [])


def test_plan_and_status_agree_on_what_is_next() -> None:
    """A healthy directory: the renewal of its pair, at the moment that `status` shows."""
    rules, seen = policy(), snapshot(pair("ca"), pair())
    planned = plan_document(rules, seen, NOW)
    assert planned["next"] == certs_dir(rules, seen, decide(rules, seen, NOW), NOW)["next"]
    assert planned["next"]["action"] == "issue"


def test_plan_next_check_is_printed_to_the_second() -> None:
    """To the second; the JSON has the rest."""
    quiet = {"path": "/certs", "actions": [], "steps": [], "held": [], "findings": []}
    told = text({"certs_dirs": [{**quiet, "wake_at": "2026-11-24T22:57:04.463Z"}]})
    assert told.splitlines()[-1] == "  next check: 2026-11-24 22:57:04Z"


@pytest.mark.slow
def test_library_not_installed_names_the_extra(tmp_path: Path) -> None:
    """An installation without the extra `acme`: the step `settings` fails, with the command that helps."""
    packages, site = tmp_path / "packages", Path(sysconfig.get_paths()["purelib"])
    packages.mkdir()
    for entry in site.iterdir():
        if entry.suffix != ".pth" and entry.name.partition("-")[0] not in {"acme", "josepy"}:
            (packages / entry.name).symlink_to(entry)
    here = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-S", "-m", "certagent", "authority", "test", "public", "-c", configured(tmp_path)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{here}:{packages}"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    assert any(line.split()[0] == "FAILED" and "settings" in line.split() for line in done.stdout.splitlines())
    assert "acme, josepy is not installed: install certagent with the extra 'acme'" in done.stdout


def test_unexpected_exception_exits_with_no_severity(capsys: pytest.CaptureFixture[str]) -> None:
    """Python exits 1 after a traceback, which is "warning" here: so an internal error is 70, and says so."""

    def mistaken() -> int:
        raise KeyError("nobody expected it")

    assert guarded(mistaken) == 70
    assert "Traceback" in (said := capsys.readouterr().err)
    assert "internal error (KeyError)" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["country-3", "neg-serial-ca"])
def test_certificate_warnings_leave_stderr_empty(name: str, tmp_path: Path) -> None:
    """cryptography warns of a country of three letters and of serial numbers below 1; they do not belong in the log."""
    for file in (Path(__file__).parent / "x509" / "corpus" / name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    words = [
        sys.executable,
        "-m",
        "certagent",
        "check",
        "--certs-dir",
        str(tmp_path),
        "--user",
        tmp_path.owner(),
        "--json",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stderr, '"name": "node.crt"' in done.stdout) == ("", True)


def test_reply_has_no_effect_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and those that turn the direction are escaped, wherever they come from; lines stay lines."""
    show(Reply(0, "a\tb\n\x1b[2J\u202ec", error="\x07\x9b1m"), as_json=False)
    assert capsys.readouterr() == ("a\tb\n\\x1b[2J\\u202ec\n", "\\x07\\x9b1m\n")


def test_agent_user_is_the_owner_of_its_state(tmp_path: Path) -> None:
    """Who may answer on the socket: the owner of the state directory, else of the socket's directory."""
    config = tmp_path / "config.toml"
    config.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\nsocket = "{tmp_path}/control.sock"\n')
    assert owner_of(str(config), f"{tmp_path}/control.sock") == tmp_path.stat().st_uid
    (tmp_path / "state").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "state", 65534, 65534)
    assert owner_of(str(config), f"{tmp_path}/control.sock") == (tmp_path / "state").stat().st_uid
    config.write_text('[agent]\nstate_dir = "/nowhere/state"\n')
    assert owner_of(str(config), "/nowhere/control.sock") is None


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("closed", ["file", "directory"])
def test_configuration_of_another_user_names_owner_and_command(closed: str) -> None:
    """Who may not read what, whose it is, its mode, and the command; every verb says it."""
    base = open_tmp()
    config, user = base / "etc" / "config.toml", pwd.getpwnam("nobody")
    try:
        config.parent.mkdir(mode=0o700 if closed == "directory" else 0o755)
        config.touch(mode=0o600)
        looked("status", "-c", str(base / "none"))  # what a verb imports may be closed to that user
        done = apart((user.pw_uid, user.pw_gid), lambda: looked("status", "-c", str(config)).stderr)
    finally:
        shutil.rmtree(base)
    group = grp.getgrgid(user.pw_gid).gr_name
    told = {
        "file": f"nobody may not read {config} (owner root, mode 0600); chgrp {group} {config} && chmod g+r {config}",
        "directory": f"nobody may not enter {config.parent} (owner root, mode 0700); chmod o+x {config.parent}",
    }
    assert f"{config}: cannot be read: Permission denied: {told[closed]}, or name another file with -c" in done


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("status --jsn", "; did you mean --json?"),
        ("renew node --wiat 3s", "; did you mean --wait?"),
        ("bundle add x --drynrun", "; did you mean --dry-run?"),
        ("status --short=1 --xyzzy", ""),
    ],
)
def test_mistyped_option_names_the_one_that_is_meant(words: str, meant: str) -> None:
    """Of the verb, or of what is below it; nothing where none is near."""
    done = looked(*words.split())
    assert done.returncode == 64
    assert done.stderr.strip().endswith(meant)
    assert ("did you mean" in done.stderr) is bool(meant)


def test_history_of_a_name_that_no_file_has_is_a_mistake(tmp_path: Path) -> None:
    """It says so and names the one that is meant, also where a file could have that name but none is configured."""
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(base=tmp_path, owner=pwd.getpwuid(os.geteuid()).pw_name))
    done = looked("history", "nod", "-c", str(config))
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.strip() == "certagent: no file of a certs directory is called 'nod'; did you mean 'node'?"
    assert looked("history", "xyzzy", "-c", str(config)).stderr.strip().endswith("status lists what is managed")
    config.write_text(config.read_text().replace("[certs_dir.file", 'clients = ["root"]\n[certs_dir.file'))
    other = looked("history", "client.rot", "-c", str(config))
    assert (other.returncode, other.stdout) == (64, "")
    told = "certagent: client.rot is not configured, and has no attempts; did you mean 'client.root'?"
    assert other.stderr.strip() == told
    configured = looked("history", "client.root.crt", "-c", str(config))
    assert (configured.returncode, configured.stdout.startswith("no attempts for client.root yet")) == (0, True)


@pytest.mark.usefixtures("usual_umask")
def test_certs_directory_that_is_a_dangling_link_is_told(tmp_path: Path) -> None:
    """The link points at nothing: `config check`, `check`, `plan` and `status` say where it leads."""
    config, where = tmp_path / "config.toml", tmp_path / "nowhere"
    config.write_text(CONFIG.format(base=tmp_path, owner=pwd.getpwuid(os.geteuid()).pw_name))
    (tmp_path / "certs").symlink_to(where)
    for words in ("status", "check", "plan"):
        told = " ".join(looked(*words.split(), "-c", str(config)).stdout.split())
        assert f"it is a link to {where}, which does not exist" in told
        assert "install -d" not in told
    assert f"it is a link to {where}" in looked("config", "check", "-c", str(config)).stderr
