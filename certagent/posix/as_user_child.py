"""What an agent that is root has to do as another user: in this child, which becomes that user for good.

argv: UID GID VERB WORD... Run by path with -I -S, so that it imports nothing of certagent. The kernel then permits no
more than that user may do. Real, effective and saved uid are changed, since an effective one alone could still signal
root's processes.
"""

import os
import shutil
import signal
import sys


def become(uid: int, gid: int) -> None:
    """Give up everything, for good."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def hup(pidfd: str) -> None:
    """Send SIGHUP through a descriptor."""
    signal.pidfd_send_signal(int(pidfd), signal.SIGHUP)


def make(path: str) -> None:
    """Make a directory of one's own."""
    os.mkdir(path, 0o700)


def end(group: str, path: str = "") -> None:
    """Kill a group of processes, and remove the directory that they had."""
    try:
        os.killpg(int(group), signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        if path:
            remove(path)


def remove(path: str) -> None:
    """Remove a directory with all that is in it."""
    shutil.rmtree(path, ignore_errors=True)


VERBS = {"hup": hup, "make": make, "end": end, "remove": remove}


def main() -> None:
    """Become the user, then do one thing."""
    uid, gid, verb, *words = sys.argv[1:]
    become(int(uid), int(gid))
    try:
        VERBS[verb](*words)
    except OSError as error:
        sys.stderr.write(error.strerror or str(error))
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
