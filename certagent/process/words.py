"""The arguments and the environment of a process, read within bounds, since any user may start a process.

By prctl(PR_SET_MM) it may say that its arguments are a terabyte of its memory. Rejected: psutil's cmdline and environ,
which read whatever there is.
"""

import errno
import os

from certagent.process.listing import comm

LONGEST = 1 << 17  # bytes of arguments: what the kernel permits for one of them
LONGEST_ENVIRON = 1 << 20
MOST_WORDS = 1024
CUT = 15  # bytes of a name that the kernel keeps


def argv_of(pid: int) -> list[str]:
    """The arguments. Raises OSError, also where there is more than any server needs."""
    words = words_in(_read(pid, "cmdline", LONGEST))
    if len(words) > MOST_WORDS:
        raise OSError(errno.E2BIG, f"it has more than {MOST_WORDS} arguments", f"/proc/{pid}/cmdline")
    return words


def environ_of(pid: int) -> dict[str, str]:
    """The environment. Raises OSError, also where there is more than any server needs."""
    return variables_in(_read(pid, "environ", LONGEST_ENVIRON))


def program_of(pid: int, argv: list[str]) -> str:
    """The name of a process, whole where the kernel cut it and its first argument has the rest."""
    name = comm(str(pid))
    whole = os.path.basename(argv[0]) if argv else ""
    return whole if len(name) >= CUT and whole.startswith(name) else name


def words_in(said: str) -> list[str]:
    """Given /proc/PID/cmdline, return the arguments; a process that wrote its own may separate them by blanks."""
    words = said.removesuffix("\0").split("\0") if said else []
    return words[0].rstrip(" ").split(" ") if len(words) == 1 and " " in words[0] else words


def variables_in(said: str) -> dict[str, str]:
    """Given /proc/PID/environ, return the variables; the first empty word ends them."""
    words = iter(said.split("\0"))
    pairs = (word.partition("=") for word in iter(lambda: next(words, ""), ""))
    return {name: value for name, equals, value in pairs if name and equals}


def _read(pid: int, what: str, most: int) -> str:
    with open(f"/proc/{pid}/{what}", "rb", buffering=0) as file:
        found = bytearray()
        while len(found) <= most and (part := file.read(most + 1 - len(found))):
            found += part
    if len(found) > most:
        raise OSError(errno.E2BIG, f"its {what} has more than {most} bytes", f"/proc/{pid}/{what}")
    return os.fsdecode(bytes(found))
