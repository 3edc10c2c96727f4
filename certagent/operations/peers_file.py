"""The file that names the members of the cluster, one address on each line: read only if nobody else can change it."""

import os
import stat

from certagent.core.members import Listing, listing
from certagent.posix.trusted import distrust

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
LIMIT = 1 << 20  # bytes


def read_listing(path: str) -> Listing:
    """What the file says. Never raises; a path on a network mount may block the caller."""
    try:
        if problem := distrust(path):
            return Listing(problem=f"not used: {problem}")
        with open(path, "rb", opener=lambda name, _: os.open(name, READ)) as file:  # it closes a directory, too
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Listing(problem="this is not a regular file")
            data = file.read(LIMIT + 1)
    except OSError as error:
        return Listing(problem=f"cannot be read: {error.strerror}")
    if len(data) > LIMIT:
        return Listing(problem=f"larger than {LIMIT} bytes")
    return listing(data.decode("utf-8-sig", "replace"))
