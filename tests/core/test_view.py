"""What decide looks at, asked as it asks."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from certagent.core import decide
from certagent.core.facts import Adopted, Attempt, History, InFlight
from certagent.core.timing import renew_at
from certagent.core.view import View
from tests.core.building import DAY, NOW, pair, policy, snapshot
from tests.parsing import nodes

JOBS = (InFlight("issue", "node", NOW), InFlight("probe", "100:5000", NOW), InFlight("issue", "ui", NOW))
RUNNING = [
    ("issue", "node", JOBS[0]),
    ("issue", "ui", JOBS[2]),
    ("issue", "client.root", None),
    ("issue", None, JOBS[0]),
    ("reload", "node", None),
    ("scan", None, None),
]


@pytest.mark.parametrize(("kind", "subject", "expected"), RUNNING)
def test_view_running_job_by_kind_and_subject(kind: str, subject: str | None, expected: InFlight | None) -> None:
    """A job runs for one subject; without a subject any job of that kind counts."""
    view = View(policy=policy(), snapshot=snapshot(in_flight=JOBS), now=NOW)
    assert expected == view.running(kind, subject)


def test_view_pair_and_want_by_stem() -> None:
    """The live pair and the configured one, by the same name."""
    view = View(policy=policy(), snapshot=snapshot(pair("ca"), pair("ui")), now=NOW)
    assert (pair("ui"), None) == (view.pair("ui"), view.want("ui"))
    assert (None, policy().want("node")) == (view.pair("node"), view.want("node"))


def test_view_renewal_point_follows_history() -> None:
    """The renewal point of a live leaf is that of its own attempts, not of another pair's."""
    live, want = pair("node"), policy().wants[1]
    assert live.leaf is not None
    mine = Attempt("install", "node", NOW, "ok", fingerprint=live.leaf.fingerprint)
    others = Attempt("install", "ui", NOW, "ok", fingerprint=live.leaf.fingerprint)
    view = View(policy=policy(), snapshot=snapshot(live, attempts=(mine, others)), now=NOW)
    assert renew_at(want, live.leaf, policy().seed, History((mine,)), NOW) == view.renew_at(want, live.leaf)


def test_view_renewal_point_counts_from_when_a_leaf_was_known() -> None:
    """As it was recorded, by stem and certificate; one of which nothing is recorded is seen now."""
    live, want = pair("node"), policy().wants[1]
    assert live.leaf is not None
    mark = live.leaf.fingerprint
    for known, at in ((NOW - DAY, NOW - DAY), (None, NOW)):
        rows = (Adopted("ui", mark, "", NOW), Adopted("node", "another", "", NOW), Adopted("node", mark, "", known))
        view = View(policy=policy(), snapshot=snapshot(live, adopted=rows), now=NOW)
        assert renew_at(want, live.leaf, policy().seed, known=at) == view.renew_at(want, live.leaf)


def test_decisions_take_a_view() -> None:
    """No function of a decision is handed policy, snapshot and moment one by one; decide itself makes the view."""
    three = {"policy", "snapshot", "now"}
    found = [
        (path.stem, f.name)
        for path in Path(decide.__file__).parent.glob("*.py")
        for f in nodes(path)
        if isinstance(f, ast.FunctionDef) and f.name != "decide" and len({a.arg for a in f.args.args} & three) > 1
    ]
    assert [] == found


def test_life_of_a_pair_names_existing_functions() -> None:
    """Each `module.name` at the head of decide/ exists, in decide/ or beside it."""
    named = re.findall(r"`([a-z]+)\.([A-Za-z_]+)`", decide.__doc__ or "")
    modules = {module: importlib.import_module(f"certagent.core.{place(module)}") for module, _ in named}
    assert len(named) >= 8
    assert [] == [(module, name) for module, name in named if not hasattr(modules[module], name)]


def place(module: str) -> str:
    inside = Path(decide.__file__).parent / f"{module}.py"
    return f"decide.{module}" if inside.exists() else module
