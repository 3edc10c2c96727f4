"""The expressions of the dashboard."""

import json
from pathlib import Path

DASHBOARD = Path(__file__).parent.parent.parent / "monitoring" / "grafana" / "certagent.json"
VARIABLES = {"$cluster": ".*", "$instance": ".*"}  # as Grafana puts in what is chosen: here "All"


def expressions() -> list[str]:
    """Every expression, with the variables put in."""
    found = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    return [put_in(e) for e in found]


def put_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
