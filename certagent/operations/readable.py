"""Whether the agent's user may use a file that the configuration names: asked of the kernel, as that user.

Nothing is said where it cannot be: to another user than root and the agent's own, or before an agent has run.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress

from certagent.posix.as_user import apart
from certagent.posix.errors import HostError
from certagent.posix.owner import name_of

WORDS = {os.R_OK: "read", os.X_OK: "execute"}


def forbidden(key: str, path: str, agent: int | None, right: int = os.R_OK) -> Iterator[str]:
    """Given a setting, its path, and the agent's uid, say that the agent's user may not read (or execute) the file."""
    if not path or agent is None or os.geteuid() not in {0, agent} or not os.path.lexists(path):
        return
    with suppress(KeyError, HostError):
        user = (agent, pwd.getpwuid(agent).pw_gid)
        if not apart(user, lambda: os.access(path, right, effective_ids=True)):
            yield f"{key}: {name_of(agent)}, as whom the agent runs, may not {WORDS[right]} {path}"
