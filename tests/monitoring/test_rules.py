"""The alert rules and the dashboard: what they ask for exists, and promtool itself runs their tests."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from certagent.core.metrics import FAMILIES
from tests.documented import all_blocks
from tests.monitoring.dashboard import expressions
from tests.servers.prometheus import promtool

ROOT = Path(__file__).parent.parent.parent
MONITORING = ROOT / "monitoring"
RULES, TESTS = MONITORING / "certagent.rules.yml", MONITORING / "certagent.rules.test.yml"
LABELS = {f.name: set(f.labels) for f in FAMILIES}
OF_TARGETS = {"cluster", "instance", "job"}
SELECTOR = re.compile(r"\b([a-z][a-z_]*)\s*(?:\{([^}]*)\})?")
MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
EXPR = re.compile(r"^        expr: (?:\|\n((?:          .*\n)+)|(.*)\n)", re.MULTILINE)


def rules() -> list[str]:
    return [block or line for block, line in EXPR.findall(RULES.read_text())]


def selected(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of ours in an expression, and the labels that it is selected by."""
    for name, matchers in SELECTOR.findall(expression):
        if name.startswith("certagent_"):
            yield name, set(MATCHER.findall(matchers))


def documented() -> list[str]:
    """The expressions that the documents show, one a line."""
    return [line for block in all_blocks() if block.language == "promql" for line in block.text.splitlines()]


EXPRESSIONS = [*rules(), *expressions(), *documented()]


def test_rules_and_dashboard_were_found() -> None:
    """The tests below are about all of them."""
    assert len(rules()) == RULES.read_text().count("- alert: ")
    assert len(expressions()) > 20
    assert len(documented()) > 10


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression_uses_documented_metrics_and_labels(expression: str) -> None:
    """Each metric is one of docs/metrics.md and selected by labels that it has; so is what is grouped by."""
    unknown = [(n, used) for n, used in selected(expression) if not used <= LABELS.get(n, set()) | OF_TARGETS]
    assert unknown == []
    grouped = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")} - {""}
    named = [LABELS[n] for n, _ in selected(expression)]
    assert grouped <= OF_TARGETS.union(*named)


def test_each_metric_is_shown_somewhere() -> None:
    """No metric is made that neither an alert nor the dashboard asks for."""
    assert {name for e in EXPRESSIONS for name, _ in selected(e)} == set(LABELS)


def test_each_alert_has_runbook_and_is_tested_to_fire() -> None:
    """A section of docs/monitoring.md for each, and a row of the tests in which it fires."""
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    sections = {
        s.lower() for s in re.findall(r"^### (\w+)$", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE)
    }
    links = re.findall(r'runbook_url: "docs/monitoring.md#(\w+)"', RULES.read_text())
    assert len(links) == RULES.read_text().count("- alert: ")
    assert set(links) == sections
    fired = re.findall(r"alertname: (\w+)\n +exp_alerts:(?: \*| &\w+\n| *\n)", TESTS.read_text())
    assert set(fired) == alerts


@pytest.mark.real
def test_promtool_accepts_and_tests_the_rules() -> None:
    """The real promtool: the file is valid, and each alert fires when it should and only then."""
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", str(TESTS))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.real
def test_promtool_finds_a_rule_that_never_fires(tmp_path: Path) -> None:
    """The tests of the rules fail where a threshold is wrong."""
    (tmp_path / RULES.name).write_text(RULES.read_text().replace(">= 3", ">= 9"))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    assert promtool("test", "rules", str(tmp_path / TESTS.name)).returncode != 0


def test_dashboard_has_a_panel_once() -> None:
    """Each panel has a number, a title and a place of its own, and no data source of one installation."""
    found = json.loads((MONITORING / "grafana" / "certagent.json").read_text())
    panels = found["panels"]
    places = [tuple(p["gridPos"].values()) for p in panels]
    assert len({p["id"] for p in panels}) == len({p["title"] for p in panels}) == len(panels)
    assert len(set(places)) == len(panels)
    assert {t["datasource"]["uid"] for p in panels for t in p["targets"]} == {"${datasource}"}
    assert found["templating"]["list"][0]["type"] == "datasource"
