"""Find the processes that own a certs-dir. The only package that imports psutil.

A cheap look at every comm first, then a close look at the few that fit. Paths are resolved in the process's own
root and cwd and compared by device and inode, so that containers, links and relative paths come out right.
openat2(RESOLVE_IN_ROOT) because an absolute link under /proc/PID/root would otherwise lead to the host's own
files.
"""

from certagent.host.procs.arguments import Arguments, parse, terms_of
from certagent.host.procs.finding import find, start_ticks, started_at, user_name
from certagent.host.procs.running import Running, running

__all__ = [
    "Arguments",
    "Running",
    "find",
    "parse",
    "running",
    "start_ticks",
    "started_at",
    "terms_of",
    "user_name",
]
