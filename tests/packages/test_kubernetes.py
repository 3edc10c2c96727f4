"""The sidecar of deploy/kubernetes: rendered by kubectl, held to the schemas, and run as a kubelet would run it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from certagent.cli import main
from tests.packages.building import INSTALL, run
from tests.servers.process import ROOT, program
from tests.system.running import Host, open_tmp
from tests.system.test_owners import reachable

SIDECAR = ROOT / "deploy" / "kubernetes"
POD = Path(__file__).with_name("pod.sh")
# What the official chart renders, as far as the sidecar changes it.
CHART = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "cockroachdb"},
    "spec": {
        "serviceName": "cockroachdb",
        "selector": {"matchLabels": {"app": "cockroachdb"}},
        "template": {
            "metadata": {"labels": {"app": "cockroachdb"}},
            "spec": {
                "initContainers": [{"name": "copy-certs", "image": "busybox"}],
                "containers": [
                    {
                        "name": "db",
                        "image": "cockroachdb/cockroach:v25.4.0",
                        "volumeMounts": [{"name": "certs", "mountPath": "/cockroach/cockroach-certs/"}],
                    }
                ],
                "volumes": [{"name": "certs", "emptyDir": {}}],
            },
        },
    },
}


def rendered(base: Path) -> list[dict[str, Any]]:
    """What kubectl makes of the chart and the sidecar; the schemas of Kubernetes accept each of it."""
    place = base / "rendering"
    shutil.copytree(SIDECAR, place)
    (place / "chart.yaml").write_text(json.dumps(CHART))  # JSON is YAML
    made = base / "rendered.yaml"
    made.write_text(run(program("kubectl", INSTALL), "kustomize", place))
    validate = program("kubernetes-validate", INSTALL, "kubernetes")
    run(validate, "--strict", made)
    loads = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"
    found: list[dict[str, Any]] = json.loads(run(Path(validate).with_name("python"), "-c", loads, made))
    return found


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows}


@pytest.mark.real
@pytest.mark.slow
def test_kubernetes_sidecar_is_rendered_beside_cockroach(tmp_path: Path) -> None:
    """It sees cockroach's processes, shares its user and the Secret itself, read-only; no readiness hangs on it."""
    config, chart = rendered(tmp_path)
    spec = chart["spec"]["template"]["spec"]
    containers, volumes = by_name(spec["containers"]), by_name(spec["volumes"])
    assert spec["shareProcessNamespace"]
    assert spec["initContainers"] == []
    assert set(containers) == {"certagent", "db"}
    assert "emptyDir" not in volumes["certs"]
    assert volumes["certs"]["projected"]["defaultMode"] == 0o440
    mounts = by_name(containers["certagent"]["volumeMounts"])
    assert {name: mount.get("readOnly", False) for name, mount in mounts.items()} == {
        "certs": True, "certagent-config": True, "certagent-state": False, "certagent-tmp": False,
    }  # fmt: skip
    assert "readinessProbe" not in containers["certagent"]
    assert config["metadata"]["name"] == volumes["certagent-config"]["configMap"]["name"]
    assert config["data"]["config.toml"] == (SIDECAR / "config.toml").read_text()


def test_kubernetes_configuration_is_accepted() -> None:
    """`config check` has nothing to say."""
    assert main(["config", "check", "-c", str(SIDECAR / "config.toml")]) == 0


def secrets(base: Path) -> None:
    """Two states of the Secret: the pair that an embedded CA made, and the one after it."""
    host = Host(base / "issuing")
    host.base.mkdir()
    host.write(clients="[]")
    for name in ("first", "second"):
        assert host.once().returncode == 0
        (base / name).mkdir()
        for file in ("ca.crt", "node.crt", "node.key"):
            shutil.copy(host.certs / file, base / name / file)
        for file in ("node.crt", "node.key"):
            (host.certs / file).unlink()


@pytest.mark.root
@pytest.mark.real
@pytest.mark.slow
def test_kubernetes_sidecar_reloads_what_the_kubelet_brings() -> None:
    """A renewed Secret is served after one SIGHUP from the sidecar, which writes nothing there and ends by SIGTERM."""
    base = open_tmp()
    reachable(base)
    secrets(base)
    (base / "out").mkdir(mode=0o777)
    (base / "out").chmod(0o777)
    _, chart = rendered(base)
    sidecar = by_name(chart["spec"]["template"]["spec"]["containers"])["certagent"]
    assert sidecar["command"][:2] == ["sh", "-c"]
    (base / "command").write_text(sidecar["command"][2])
    shutil.copy(SIDECAR / "config.toml", base)
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", str(POD), str(base)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{(base / 'agent.log').read_text()}"
    before, after = (json.loads((base / f"{when}.json").read_text())["certs_dirs"][0] for when in ("before", "after"))
    served = [by_name(d["files"])["node"]["fingerprint"] for d in (before, after)]
    assert served[0] != served[1]
    assert {f["code"] for f in after["findings"]} == {"dir.foreign"}
    reloads = [json.loads(r) for r in (base / "out" / "server.log").read_text().splitlines() if '"reload"' in r]
    assert [(r["ok"], r["sender_uid"]) for r in reloads] == [(True, 1000)]
    assert (base / "ended").read_text() == "0\n"
    shutil.rmtree(base)
