"""Close a descriptor whatever becomes of it."""

import os


def close(fd: int) -> None:
    """Close it. An error is not raised: the kernel has closed it in any case, and what was written was synced before.

    Raised, it would keep the caller from closing the others.
    """
    try:  # noqa: SIM105 - optimised: every file of a directory is closed by this, and suppress takes longer than close
        os.close(fd)
    except OSError:
        pass
