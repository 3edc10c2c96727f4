"""What an agent that is root has to do as another user: in this child, which becomes that user for good.

argv: UID GID VERB WORD... Run by path with -I -S, so that it imports nothing of certagent. The kernel then permits no
more than that user may do. Real, effective and saved uid are changed, since an effective one alone could still signal
root's processes.
"""

import json
import os
import shutil
import signal
import socket
import struct
import sys

LIMIT = 1 << 20
LISTENING = "0A"  # the state in /proc/net/tcp


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


def look(pid: str) -> None:
    """Print the environment of a process and where it listens on TCP, as JSON."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        environ = file.read(LIMIT).hex()
    links = [_link(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = []
    for name, family, words in (("tcp", socket.AF_INET, "1I"), ("tcp6", socket.AF_INET6, "4I")):
        with open(f"/proc/net/{name}") as table:
            rows = [line.split() for line in list(table)[1:]]
        for address, port in (row[1].split(":") for row in rows if row[3] == LISTENING and row[9] in sockets):
            packed = struct.pack(f">{words}", *struct.unpack(f"={words}", bytes.fromhex(address)))
            found.append((socket.inet_ntop(family, packed), int(port, 16)))
    sys.stdout.write(json.dumps({"environ": environ, "listeners": found, "sockets": sorted(sockets)}))
    sys.stdout.flush()


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:  # it was closed meanwhile
        return ""


VERBS = {"hup": hup, "make": make, "end": end, "remove": remove, "look": look}


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
