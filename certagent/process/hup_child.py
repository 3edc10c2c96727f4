"""The single-purpose child: become the owner irrevocably, then send SIGHUP through the given pidfd.

argv: pidfd uid gid. Run by path with -I -S, so that it imports nothing of certagent. setresuid, because an effective
uid alone could still signal root's processes.
"""

import os
import pwd
import signal
import sys


def main() -> None:
    """Drop everything, then signal."""
    pidfd, uid, gid = (int(word) for word in sys.argv[1:4])
    if os.geteuid() == 0 and uid != 0:
        os.setgroups(groups_of(uid, gid))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    signal.pidfd_send_signal(pidfd, signal.SIGHUP)


def groups_of(uid: int, gid: int) -> list[int]:
    """The groups of a user; of one without a name its own alone."""
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]


if __name__ == "__main__":
    main()
