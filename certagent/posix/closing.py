"""Close a descriptor whatever becomes of it."""

import os
from contextlib import suppress


def close(fd: int) -> None:
    """Close it. An error is not raised: the kernel has closed it in any case, and what was written was synced before.

    Raised, it would keep the caller from closing the others.
    """
    with suppress(OSError):
        os.close(fd)
