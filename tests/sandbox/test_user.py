"""Whom a root agent's confined children become."""

import os
import pwd
import subprocess
import sys

from certagent.sandbox.user import NAME, unprivileged

CHOSEN = "from certagent.sandbox.user import choose, unprivileged; choose((64001, 64002)); print(*unprivileged())"


def test_unprivileged_user_is_the_chosen_one() -> None:
    """What the configuration says counts for the whole process: for probes and for questions to OCSP responders."""
    found = subprocess.run([sys.executable, "-c", CHOSEN], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert found.stdout.split() == ["64001", "64002"]


def test_unprivileged_user_is_not_shared_where_the_host_has_its_own() -> None:
    """Without a configuration it is `certagent-worker`, and `nobody` only where there is no such user."""
    names = [row.pw_name for row in pwd.getpwall()]
    expected = pwd.getpwnam(NAME if NAME in names else "nobody")
    assert unprivileged() == (expected.pw_uid, expected.pw_gid)
