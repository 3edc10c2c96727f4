"""Prometheus, its promtool, and node_exporter with the textfile collector alone; each on a loopback port of its own.

Install: tests/servers/prometheus/packages.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Any
from urllib.parse import urlencode

import urllib3

from tests.servers.process import LOCALHOST, Running, free_port, listens, program

INSTALL = "apt-get install prometheus prometheus-node-exporter"


def promtool(*words: str, given: str | None = None) -> CompletedProcess[str]:
    """What promtool says; `given` on stdin."""
    command = [program("promtool", INSTALL), *words]
    return run(command, input=given, capture_output=True, text=True, check=False)


def node_exporter(directory: Path, log: Path) -> tuple[Running, int]:
    """An exporter that reads the text files of a directory and nothing else, and its port."""
    port = free_port()
    command = [program("prometheus-node-exporter", INSTALL), f"--web.listen-address={LOCALHOST}:{port}"]
    command += ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={directory}"]
    return Running(command, log, lambda: listens(port)), port


class Prometheus(Running):
    """A server that scrapes and evaluates each second."""

    def __init__(self, directory: Path, jobs: dict[str, int], rules: Sequence[Path] = ()) -> None:
        """`jobs`: by name, the loopback port that is scraped."""
        directory.mkdir(exist_ok=True)
        self.port = free_port()
        config = directory / "prometheus.yml"
        scraped = [{"job_name": job, "static_configs": [_target(port)]} for job, port in jobs.items()]
        often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config.write_text(
            json.dumps(
                {"global": often, "rule_files": list(map(str, rules)), "scrape_configs": scraped}
            )  # YAML has JSON
        )
        command = [program("prometheus", INSTALL), f"--config.file={config}", f"--storage.tsdb.path={directory}/data"]
        command += [f"--web.listen-address={LOCALHOST}:{self.port}", "--web.enable-lifecycle"]
        super().__init__(command, directory / "prometheus.log", self._ready)

    def _ready(self) -> bool:
        return listens(self.port) and self._get("-/ready").status == 200

    def _get(self, path: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request("GET", f"http://{LOCALHOST}:{self.port}/{path}", retries=False)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an expression now. Raises AssertionError where Prometheus refuses it."""
        answer = self._get(f"api/v1/query?{urlencode({'query': expression})}").json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        found = answer["data"]["result"]
        return found if isinstance(found, list) else [found]

    def value(self, expression: str) -> float | None:
        """The one value of an expression; None where it has none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self._get("api/v1/alerts").json()["data"]["alerts"]
        return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}


def _target(port: int) -> dict[str, Any]:
    return {"targets": [f"{LOCALHOST}:{port}"], "labels": {"cluster": "test"}}
