"""The Ansible role, rolled out by the real Ansible over ssh to three hosts, each with a booted systemd of its own."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.process import ROOT, program
from tests.system.booted import configured
from tests.system.running import open_tmp
from tests.system.test_owners import reachable

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.real]
ROLE = ROOT / "deploy" / "ansible"
HOSTS = ("host1", "host2", "host3")
FLEET = Path(__file__).with_name("fleet")
CONFIG = configured("{{ ansible_facts.hostname }}") + "{{ more | default('') }}\n"
INVENTORY = """\
cockroachdb:
  hosts:
{hosts}
  vars:
    ansible_user: root
    ansible_python_interpreter: /usr/bin/python3
    ansible_ssh_private_key_file: {base}/key
    certagent_package: {package}
    certagent_config_template: {base}/certagent.toml.j2
    certagent_gate_delay: 1
"""
# The third run has a mistake in its configuration; the first host of the fourth has a certificate that nobody can read.
RUNS = """\
set -uo pipefail
play() {
    "$ANSIBLE" -i "$BASE/inventory.yml" "$ROLE/deploy.yml" "${@:2}" > "$BASE/$1" 2>&1
    echo "$?" > "$BASE/$1.status"
}
on() {
    ssh -q -i "$BASE/key" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \\
        "root@10.77.0.$1" "$2"
}
note() {
    for n in 2 3 4; do
        on "$n" "sha256sum /etc/certagent/config.toml; systemctl show certagent -p MainPID --value
            certagent status" > "$BASE/$1.$((n - 1))" 2>&1
    done
}
play first; note first
play again; note again
play mistake -e 'more="typo = 1"'; note mistake
on 2 'echo nothing > /var/lib/cockroach/certs/client.bad.crt'
play closed -e '{"more": "# another"}' -e certagent_gate_retries=2; note closed
"""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What one host has after a run: its configuration's digest, the agent's process, and `certagent status`."""

    digest: str
    pid: str
    shown: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """One `ansible-playbook`: its exit status, what it printed, and what each host has after it."""

    status: int
    printed: str
    hosts: tuple[Shown, ...]

    @property
    def settled(self) -> list[tuple[str, str]]:
        """What a run that changes nothing leaves as it is."""
        return [(host.digest, host.pid) for host in self.hosts]

    @property
    def waves(self) -> list[str]:
        """The hosts in the order in which the role began on them."""
        begun = self.printed.split("TASK [certagent : Make the directory of the configuration]")[1:]
        told = [re.findall(r"^(?:ok|changed): \[(\w+)\]", part.split("TASK")[0], re.MULTILINE) for part in begun]
        return [host for hosts in told for host in hosts]


def prepare(base: Path, package: Path) -> None:
    """A key, an inventory and three hosts without certagent."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / "key"], check=True)
    reachable(base)
    for name in HOSTS:
        host = base / name
        host.mkdir()
        shutil.copy(Path(__file__).with_name("host.sh"), host / "inside")
        shutil.copy(base / "key.pub", host / "authorized_keys")
        (host / "name").write_text(name)
        shutil.copytree(base / "lib", host / "lib")
    lines = [f"    {name}:\n      ansible_host: 10.77.0.{n}" for n, name in enumerate(HOSTS, 2)]
    (base / "inventory.yml").write_text(INVENTORY.format(base=base, package=package, hosts="\n".join(lines)))
    (base / "certagent.toml.j2").write_text(CONFIG)
    (base / "runs").write_text(RUNS)


def shown(path: Path) -> Shown:
    digest, pid, status = path.read_text().split("\n", 2)
    return Shown(digest=digest, pid=pid, shown=status)


def told(base: Path, name: str) -> Run:
    return Run(
        status=int((base / f"{name}.status").read_text()),
        printed=(base / name).read_text(),
        hosts=tuple(shown(base / f"{name}.{n}") for n, _ in enumerate(HOSTS, 1)),
    )


def rolled_out(base: Path, package: Path) -> tuple[Run, ...]:
    """Every run of RUNS, in its order, by three hosts that begin without certagent."""
    prepare(base, package)
    places = {
        "ANSIBLE": program("ansible-playbook", "tests/install", "ansible"),
        "BASE": str(base),
        "ROLE": str(ROLE),
        "HOME": str(base),
    }
    told_to = {
        "ANSIBLE_CONFIG": str(ROLE / "ansible.cfg"),
        "ANSIBLE_HOST_KEY_CHECKING": "False",
        "ANSIBLE_NOCOLOR": "1",
    }
    environ = {**os.environ, **places, **told_to, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [FLEET, base, "3", "bash", base / "runs"], env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(told(base, name) for name in ("first", "again", "mistake", "closed"))


def test_ansible_role_rolls_out_in_waves_and_stops_at_the_first_host_that_fails(package: Path) -> None:
    """Each wave waits for the last; a repeated run changes nothing; a mistake or a closed gate stops at one host."""
    base = open_tmp()
    first, again, mistake, closed = rolled_out(base, package)
    assert first.status == 0, first.printed
    assert first.waves == list(HOSTS)
    assert all(re.search(r"^  node .* served$", host.shown, re.MULTILINE) for host in first.hosts), first.hosts
    assert (again.status, again.settled) == (0, first.settled), again.printed
    assert again.printed.count("changed=0 ") == len(HOSTS)
    assert (mistake.status, mistake.settled) == (2, first.settled), mistake.printed
    assert "unknown setting" in mistake.printed
    assert closed.status == 2, closed.printed
    assert (closed.waves, closed.settled[1:]) == (["host1"], first.settled[1:])
    assert closed.hosts[0].digest != first.hosts[0].digest
    assert "client.bad.crt" in closed.hosts[0].shown
    shutil.rmtree(base)
