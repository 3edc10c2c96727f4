"""What is printed, and what is configured, fits the schemas that `certagent schema` prints; nothing else does."""

import copy
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from certagent.cli import bundle, commands, main
from certagent.cli.schema import schema
from certagent.core.documents import DOCUMENTS
from certagent.events import EVENTS, Log
from tests.public.cases import CASES, place
from tests.public.making import Workshop, this_minute
from tests.public.pinning import run
from tests.public.renew import GOLDEN
from tests.servers.process import program
from tests.test_bundle_verb import ENDS as BUNDLE_ENDS
from tests.test_config_example import EXAMPLE, SETTING
from tests.test_docs import CONFIGURATIONS

if importlib.util.find_spec("jsonschema") is None and "CI" not in os.environ:
    pytest.skip("no jsonschema here: make setup", allow_module_level=True)
from jsonschema import Draft7Validator, FormatChecker

MOMENTS = FormatChecker(formats=())


@MOMENTS.checks("date-time", ValueError)
def moment(value: object) -> bool:
    """RFC 3339 in UTC, to the millisecond."""
    return not isinstance(value, str) or (value.endswith("Z") and bool(datetime.fromisoformat(value)))


def problems(name: str, document: Any, *, exactly: bool = True) -> list[str]:
    """Where a document does not fit. `exactly`: moments are moments; in golden files they have names."""
    found = Draft7Validator(schema(name), format_checker=MOMENTS if exactly else None).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


OF_ANY_HOST = '"OF THIS HOST"'  # as a golden file has what is true or false on this one
GOLD = [
    (p.name, json.loads(p.read_text().replace(OF_ANY_HOST, "true"))["document"]) for p in sorted(GOLDEN.glob("*.json"))
]
DOCUMENTED = [(file, "explain" if "explain" in file else file.split(".")[1], found) for file, found in GOLD if found]


@pytest.mark.parametrize("name", ["config", "event", *DOCUMENTS])
def test_schema_is_printed_and_is_a_schema(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`certagent schema NAME` prints it; the draft's own schema accepts it."""
    assert main(["schema", name]) == 0
    Draft7Validator.check_schema(json.loads(capsys.readouterr().out))


def test_schema_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name, or with a wrong one, the command says which there are."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out.split() == ["config", "event", *DOCUMENTS]
    assert main(["schema", "statsu"]) == 64
    assert "did you mean status?" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "document"), [row[1:] for row in DOCUMENTED], ids=[row[0] for row in DOCUMENTED])
def test_schema_fits_golden_document(name: str, document: Any) -> None:
    """Each document fits, every field that it has is described, and no field is of another type."""
    assert problems(name, document, exactly=False) == []
    assert undescribed(schema(name), document) == [], "certagent/core/documents.py describes each field"
    assert [path for path, mutant in mutants(document) if not problems(name, mutant, exactly=False)] == []


def undescribed(shape: dict[str, Any], value: Any) -> list[str]:
    """The fields of a document that its schema does not have."""
    fitting = [s for s in shape.get("anyOf", [shape]) if Draft7Validator(s).is_valid(value)]
    if isinstance(value, list) and isinstance(shape.get("items"), dict):
        return [key for each in value for key in undescribed(shape["items"], each)]
    if not isinstance(value, dict) or not fitting or "properties" not in fitting[0]:
        return []
    known = fitting[0]["properties"]
    missing = [key for key in value if key not in known]
    return missing + [k for key, each in value.items() if key in known for k in undescribed(known[key], each)]


def mutants(document: Any) -> Iterator[tuple[str, Any]]:
    """The document without one of its fields, and with an object in the place of a value, for every field."""
    for path in paths(document):
        for kind in ("gone", "changed"):
            mutant = copy.deepcopy(document)
            place_of = mutant
            for step in path[:-1]:
                place_of = place_of[step]
            if kind == "changed":
                place_of[path[-1]] = {"no": ["such", "thing"]}
            elif isinstance(place_of, dict) and path[:1] != ("codes",):
                del place_of[path[-1]]
            else:
                continue
            yield f"{kind} {'.'.join(map(str, path))}", mutant


def paths(value: Any, *before: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where its values are; of a list the first element stands for all."""
    inside = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for key, below in inside:
        yield (*before, key)
        yield from paths(below, *before, key)


SAID = {  # by its schema, how a document is asked for; what it is about stands in the configuration
    "status": ["status"],
    "plan": ["plan"],
    "check": ["check"],
    "history": ["history"],
    "advise-ocsp": ["advise", "ocsp"],
    "authority-test": ["authority", "test", "house"],
    "config-check": ["config", "check"],
    "recover": ["recover"],
    "doctor": ["doctor", "--offline"],
}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The configuration of a directory that has certificates, a history and an embedded CA."""
    return made(tmp_path_factory.mktemp("schemas"), "history")


def made(base: Path, case: str) -> str:
    """The configuration of a case."""
    at = place(base, Workshop(now=this_minute()))
    CASES[case](at)
    return str(at.base / "config.toml")


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_schema_fits_what_is_printed(name: str, healthy: str) -> None:
    """Moments are RFC 3339 there, and every field that a document has is described."""
    _, out, err = run(*SAID[name], "-c", healthy, "--json")
    assert out, err
    assert problems(name, json.loads(out)) == []
    assert undescribed(schema(name), json.loads(out)) == []


def test_schema_fits_what_init_proposes() -> None:
    """Whatever runs on this host."""
    _, out, _ = run("init", "--json")
    assert not out or problems("init", json.loads(out)) == []


@pytest.mark.parametrize(
    "outcome", [commands.PENDING, {"state": "proven", "reason": "served"}, {**commands.PENDING, "owed": ["[::1]:1"]}]
)
def test_schema_fits_how_a_command_ended(outcome: dict[str, Any]) -> None:
    """With the addresses that owe something, or without."""
    told = commands.reply_of(commands.Command("renew", "node", "", 0, ""), outcome, 1.0)
    assert problems("command", told.document) == []
    assert problems("command", {**outcome, "version": 1, "state": "served"}) != []


@pytest.mark.parametrize(("answer", "state", "reason"), [row[:3] for row in BUNDLE_ENDS])
def test_schema_fits_how_a_bundle_was_changed(answer: dict[str, Any], state: str, reason: str) -> None:
    """However it ended; and what `show` prints."""
    document = bundle.reply_of(answer, state, reason).document
    assert problems("bundle", document) == []
    assert undescribed(schema("bundle"), document) == []


@pytest.mark.parametrize("event", EVENTS)
def test_schema_fits_line_of_log(event: str) -> None:
    """Each event with each of its fields; a field that it lacks, or another event, does not fit."""
    stream = StringIO()
    fields = dict.fromkeys(EVENTS[event].fields, "warning")
    Log(stream, "json", lambda: datetime.now(UTC)).emit(event, file="node.crt", reason="a reason", **fields)
    row = json.loads(stream.getvalue())
    assert problems("event", row) == []
    assert undescribed(schema("event"), row) == []
    assert problems("event", {**row, "event": "no.such"}) != []
    assert problems("event", {key: value for key, value in row.items() if key != "ts"}) != []


@pytest.mark.slow
def test_schema_fits_log_of_agent(tmp_path: Path) -> None:
    """What a run of the agent writes."""
    config = made(tmp_path, "healthy")
    words = [sys.executable, "-m", "certagent", "run", "--once", "--log", "json", "-c", config]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
    assert "converged" in [row["event"] for row in lines], done.stdout + done.stderr
    assert [found for row in lines for found in problems("event", row) + undescribed(schema("event"), row)] == []


CONFIGURED = [
    ("the example", tomllib.loads(EXAMPLE.read_text())),
    ("the example with every setting", tomllib.loads(SETTING.sub(r"\1", EXAMPLE.read_text()))),
]


@pytest.mark.parametrize("document", [d for _, d in CONFIGURED], ids=[name for name, _ in CONFIGURED])
def test_schema_fits_example(document: dict[str, Any]) -> None:
    """config.example.toml, as it is and with what is commented out."""
    assert problems("config", document) == []


@pytest.mark.parametrize("document", [d for _, d in CONFIGURATIONS], ids=[name for name, _ in CONFIGURATIONS])
def test_schema_fits_documented_configuration(document: dict[str, Any]) -> None:
    """What the documents show, completed."""
    whole = copy.deepcopy(document)
    directories = whole.setdefault("certs_dir", [{}])
    whole["certs_dir"] = directories if isinstance(directories, list) else [directories]
    for directory in whole["certs_dir"]:
        directory |= {"owner": "root", "path": directory.get("path", "/certs")}
    assert problems("config", whole) == []


def test_schema_refuses_each_changed_setting() -> None:
    """Of the example with every setting: one of another type, and one that does not exist."""
    whole = CONFIGURED[1][1]
    changed = [path for path, mutant in mutants(whole) if path.startswith("changed") and not problems("config", mutant)]
    assert changed == []
    for table in (whole["agent"], whole["certs_dir"][0], *whole["authority"].values()):
        table["no_such_setting"] = 1
        assert problems("config", whole) != []
        del table["no_such_setting"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rescan", "30"),
        ("rescan", "0s"),
        ("state_dir", "certs"),
        ("enforce", "repairs"),
        ("log", True),
        ("resident", "yes"),
    ],
)
def test_schema_refuses_what_config_check_refuses(key: str, value: object) -> None:
    """A mistake that an editor can see."""
    sound = {"certs_dir": [{"path": "/certs", "owner": "root"}]}
    assert problems("config", sound) == []
    assert problems("config", {**sound, "agent": {key: value}}) != []


@pytest.mark.parametrize(("missing", "document"), [("owner", {"path": "/certs"}), ("path", {"owner": "root"})])
def test_schema_requires_what_config_requires(missing: str, document: dict[str, str]) -> None:
    """A directory without its owner, or without its path."""
    assert [e for e in problems("config", {"certs_dir": [document]}) if missing in e]


@pytest.mark.real
@pytest.mark.slow
def test_schema_in_editor(tmp_path: Path) -> None:
    """Taplo accepts the example, and names a setting that does not exist, by the comment that docs show."""
    taplo = program("taplo", "tests/install")
    (tmp_path / "config.json").write_text(json.dumps(schema("config")))
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    head = f"#:schema {tmp_path}/config.json\n"
    good.write_text(head + EXAMPLE.read_text())
    bad.write_text(head + EXAMPLE.read_text().replace("[agent]", '[agent]\nenforc = "repair"'))
    done = [subprocess.run([taplo, "lint", file], capture_output=True, text=True, check=False) for file in (good, bad)]
    assert done[0].returncode == 0, done[0].stderr
    assert done[1].returncode != 0
    assert "'enforc' was unexpected" in done[1].stderr
