"""Commands in process, and what they say with all that varies named: moments, fingerprints, paths, who runs them.

A moment is written by its distance from now: `NOW+90d` for one that a certificate or the ledger has, `NOW+50d~` for
one that follows from the jitter of this host, rounded up so far that every host has the same. So the cases keep to
whole quarters of a day, and what is due at a jittered point stands at a multiple of ten days.
"""

import argparse
import io
import json
import math
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from certagent.cli import main, parser
from tests.public.cases import CASES, place
from tests.public.making import DAY, Workshop, this_minute

STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?(?:Z| UTC|\+00:00)")
SPAN = re.compile(r"\b(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
SERIAL = re.compile(r'"serial": "[0-9a-f]+"')
HEX = re.compile(r"\b(?:[0-9a-f]{12}|[0-9a-f]{64})\b")
QUARTER, SOON = DAY / 4, timedelta(minutes=5)
GRAINS = (timedelta(hours=1), DAY, 10 * DAY)
CLEAN = {"COLUMNS": "300", "NO_COLOR": "1", "LANGUAGE": "C"}
CALLERS = re.compile(r"COCKROACH_|CERTAGENT_|SSL_CERT_|(FORCE|PYTHON)_COLOR")
HOST = "worker.unconfined"  # a finding about the kernel of this machine
OPTION = re.compile(r"(-\w) ([A-Z]+), (--[\w-]+ \2)")  # as argparse wrote it before Python 3.13
COLUMN = re.compile(r"(?<=\S)(?:\n {8,}| {2,})(?=\S)")  # where it begins is argparse's business, too
VERBS = ("status", "plan", "check", "history")


def outputs(base: Path) -> Iterator[tuple[str, str]]:
    """The name of each golden file, and what it should hold. Cases are built below `base`."""
    yield from helps()
    yield "explain.json", pinned("explain", "--json")
    yield "explain-one.json", pinned("explain", "key.mode", "--json")
    for name in CASES:
        yield from case(name, base)


def helps() -> Iterator[tuple[str, str]]:
    """--help of the program, of every verb and of every verb below one."""
    for words in commands(parser()):
        said = run(*words, "--help")
        text = COLUMN.sub("  ", OPTION.sub(r"\1, \3", said[1]))
        yield f"{'-'.join(('help', *words))}.txt", text if (said[0], said[2]) == (0, "") else repr(said)


def commands(top: argparse.ArgumentParser, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of every command, as the parser has them."""
    yield words
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, below in action.choices.items():
                yield from commands(below, *words, verb)


def case(name: str, base: Path) -> Iterator[tuple[str, str]]:
    """The documents of one case."""
    at = place(base / name, Workshop(now=this_minute()))
    CASES[name](at)
    config, roots = str(at.base / "config.toml"), str(at.base / "roots" / "system.crt")
    for verb in VERBS:
        said = pinned(verb, "-c", config, "--json", roots=roots)
        yield f"{name}.{verb}.json", named(said, at.shop, str(at.base))


def pinned(*argv: str, roots: str = "") -> str:
    """A document, with the exit code, and what went to stderr. `roots`: those of the system."""
    code, out, err = run(*argv, roots=roots)
    document = json.loads(out, object_hook=_of_any_host) if out else None
    return json.dumps({"exit": code, "stderr": err, "document": document}, indent=2) + "\n"


def _of_any_host(found: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on the kernel and on who runs the tests."""
    if {"certs_dir", "user", "pid"} <= found.keys():
        found["user"] = "OWNER"
    if "synchronised" in found:
        found["synchronised"] = "OF THIS HOST"
    if isinstance(found.get("findings"), list):
        found["findings"] = [f for f in found["findings"] if f["code"] != HOST]
    return found


def run(*argv: str, roots: str = "") -> tuple[int, str, str]:
    """The exit code, stdout and stderr of one command."""
    out, err = io.StringIO(), io.StringIO()
    with surroundings(SSL_CERT_FILE=roots), redirect_stdout(out), redirect_stderr(err):
        try:
            code: object = main(argv)
        except SystemExit as ended:
            code = ended.code
    return int(str(code)), out.getvalue(), err.getvalue()


@contextmanager
def surroundings(**more: str) -> Iterator[None]:
    """The environment of a command: whatever the caller has set changes nothing."""
    before = dict(os.environ)
    try:
        for name in [n for n in before if CALLERS.match(n)]:
            del os.environ[name]
        os.environ.update({**CLEAN, **more})
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def named(text: str, shop: Workshop, base: str) -> str:
    """What was said, with a name for every path, moment, duration and fingerprint."""
    text = SERIAL.sub('"serial": "SERIAL"', text.replace(base, "DIR"))
    text = text.replace(f'"host": "{socket.gethostname()}"', '"host": "HOST"')
    text = STAMP.sub(lambda m: moment(datetime.fromisoformat(f"{m[1]}T{m[2]}{m[3] or ''}+00:00") - shop.now), text)
    text = SPAN.sub(lambda m: span(timedelta(int(m[1] or 0), float(m[4]), 0, 0, int(m[3]), int(m[2]))), text)
    return HEX.sub(lambda m: material(m[0], shop.known), text)


def moment(distance: timedelta) -> str:
    """A moment, by its distance from now."""
    if timedelta(0) <= distance < SOON:
        return "NOW"
    if distance % QUARTER == timedelta(0):
        return f"NOW{distance / DAY:+g}d"
    grain = next((g for g in GRAINS if timedelta(0) < distance <= g), GRAINS[-1])
    return f"NOW{math.ceil(distance / grain) * grain / DAY:+.3g}d~"


def span(length: timedelta) -> str:
    """A duration that ends or begins now, to the hour."""
    return f"{math.ceil(length / timedelta(hours=1))}h"


def material(digits: str, known: dict[str, str]) -> str:
    """A fingerprint, or the first digits of one, by the name of what was made."""
    names = [name for fingerprint, name in known.items() if fingerprint.startswith(digits)]
    return f"<{names[0]}>" if names else f"<{len(digits)} hex digits>"
