"""Run by responding.py as a process of its own: touch what is asked for on standard input, and say that it answered.

A request is a path in hexadecimal digits. Each dot of the answer says that it goes on, the end of the line that it is
done, whatever the path is. It imports only what is there without the site packages, so that it starts fast.
"""

import os
import sys

AREA = b".certagent"
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
STEP = 50


def touch(path: bytes) -> None:
    """Stat a path; a directory is listed too, and what the agent opens in it is opened. Raises OSError."""
    if os.path.isdir(path):
        touch_directory(path)
    else:
        os.stat(path)


def touch_directory(path: bytes) -> None:
    """List it, and open what the agent opens in it; a dot is said every 50 entries. Raises OSError."""
    with os.scandir(path) as found:
        for number, entry in enumerate(found, 1):
            if worth_opening(entry.name, regular=entry.is_file(follow_symlinks=False)):
                opened(entry.path)
            if number % STEP == 0:
                say(b".")


def worth_opening(name: bytes, *, regular: bool) -> bool:
    """Whether the agent opens such an entry of a certs directory: each regular file, and the staging area."""
    return regular or name == AREA


def opened(path: bytes) -> None:
    """Open and close it; a file that cannot be opened has answered too."""
    try:
        os.close(os.open(path, OPEN))
    except OSError:
        return


def say(text: bytes) -> None:
    """Write it to standard output, without a buffer."""
    os.write(1, text)


def main() -> None:
    """Until the end of the input: the agent is gone then."""
    for line in sys.stdin.buffer:
        try:
            touch(bytes.fromhex(line.decode()))
        except OSError:
            say(b".")  # an error is an answer too
        say(b"\n")


if __name__ == "__main__":
    main()
