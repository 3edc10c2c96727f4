"""What root sees of another user's process without the capability to read every file: as that user, in a child."""

import json
import subprocess
import sys
from typing import Any

import pytest

from certagent.process.by_user import SeenByUser, parsed
from tests.sandbox.test_worker import FEW

LISTEN = """
import socket, sys
here, there = socket.create_server(("127.0.0.1", 0)), socket.create_server(("::1", 0), family=socket.AF_INET6)
made = socket.create_connection(here.getsockname())
print(here.getsockname()[1], there.getsockname()[1], flush=True)
sys.stdin.read()
"""
LOOK = """
import json, sys
from certagent.process import by_user, find
pid, uid = int(sys.argv[1]), int(sys.argv[2])
try:
    open(f"/proc/{pid}/environ").close()
    print("not denied")
except PermissionError:
    seen = by_user.seen_by_user(pid, (uid, uid))
    print(json.dumps([seen.environ["WHOSE"], seen.addresses, len(seen.sockets)] if seen else None))
"""


@pytest.mark.root
@pytest.mark.parametrize("uid", [65534, 65533], ids=["its user", "another user"])
def test_process_is_seen_by_its_own_user_alone(uid: int) -> None:
    """Environment and listeners, with the capabilities of the root unit; a child of any other user sees nothing."""
    process = subprocess.Popen(
        ["/usr/bin/python3", "-c", LISTEN],  # it becomes the user before it is executed: so the user may see it
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        user=65534, group=65534, extra_groups=[], env={"WHOSE": "its=own"},
    )  # fmt: skip
    assert process.stdout is not None
    here, there = map(int, process.stdout.readline().split())
    command = ["setpriv", f"--bounding-set={FEW}", f"--inh-caps={FEW}", sys.executable, "-c", LOOK]
    done = subprocess.run(
        [*command, str(process.pid), str(uid)], capture_output=True, text=True, check=False, timeout=60
    )
    process.communicate()
    expected = ["its=own", [["127.0.0.1", here], ["::1", there]], 3] if uid == 65534 else None
    assert json.loads(done.stdout) == expected, done.stderr


def test_process_seen_by_user_is_parsed() -> None:
    """Words without a name are left out; a value may have an equals sign."""
    told = {"environ": b"A=b=c\0junk\0B=\0".hex(), "listeners": [["::", 8080]], "sockets": ["7"]}
    assert parsed(told) == SeenByUser(
        environ={"A": "b=c", "B": ""}, addresses=(("::", 8080),), sockets=frozenset({"7"})
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"environ": "no hex"},
        {"listeners": [["::", 0]]},
        {"listeners": [["::", 1 << 16]]},
        {"listeners": 7},
        {"sockets": 7},
    ],
)
def test_process_seen_by_user_is_held_to_its_form(changed: dict[str, Any]) -> None:
    """The child is another user's: nothing of it is taken that is not as it should be."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        parsed({"environ": "", "listeners": [], "sockets": [], **changed})
