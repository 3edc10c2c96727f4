"""The processes that own a certs-dir: which they are, where they listen, SIGHUP. The only room that imports psutil.

First every comm is read, which is cheap, then the few that fit are examined. Paths are resolved in the process's own
root and cwd and compared by device and inode, so that containers, links and relative paths come out right.
openat2(RESOLVE_IN_ROOT) because an absolute link under /proc/PID/root would otherwise lead to the host's own
files.
"""

from certagent.process.arguments import Arguments, parse, terms_of
from certagent.process.finding import find, has_ended, start_ticks, started_at
from certagent.process.inspecting import running
from certagent.process.listing import listed
from certagent.process.passed_over import passed_over

__all__ = [
    "Arguments",
    "find",
    "has_ended",
    "listed",
    "parse",
    "passed_over",
    "running",
    "start_ticks",
    "started_at",
    "terms_of",
]
