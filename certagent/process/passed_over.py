"""Why no process owns the directory, as far as it can be seen: --insecure, another user's, a PID file that is wrong."""

import os
from contextlib import suppress

import psutil

from certagent.core.facts import PassedOver
from certagent.core.policy import Owner, ProcessRule
from certagent.posix.responding import FRESH, required, responds
from certagent.process.arguments import parse
from certagent.process.classify import SHELLS
from certagent.process.finding import PID_FILE, candidates, insides, seen, worth_a_look


def passed_over(rule: ProcessRule, owner: Owner, oldest: float | None = None) -> tuple[PassedOver, ...]:
    """Given how the owning processes are found, and that there is none, return what was passed over on the way.

    `oldest`: as for `find`.
    """
    if rule.pid_file:
        return _pid_file(rule.pid_file)
    found = []
    for pid in worth_a_look(candidates(rule, oldest), owner):
        with suppress(psutil.Error, OSError):
            if one := _examined(pid, owner):
                found.append(one)
    return tuple(sorted(found, key=lambda p: p.pid))


def _examined(pid: int, owner: Owner) -> PassedOver | None:
    """Raises psutil.Error, OSError."""
    known = seen(pid)
    if known is None:
        return None
    process, base, argv = known
    details = insides(process)
    said = parse(argv, details.environ if details else {})
    if not said.subcommand or (details and os.path.basename(details.exe) in SHELLS):
        return None
    if said.insecure and base.uid == owner.uid:
        detail = f"pid {pid} ({base.user}) was started with --insecure: it uses no certificates"
        return PassedOver("insecure", detail, pid)
    elsewhere = _there(said.certs_dir)  # ours would have been recognised
    if details is None and not said.insecure and not elsewhere and owner.uid not in {0, base.uid}:
        detail = f"pid {pid} runs as {base.user}, not as {owner.user}: this agent cannot see which directory it uses"
        return PassedOver("other-user", detail, pid)
    return None


def _there(path: str) -> bool:
    """Whether an absolute path is a directory; one that does not respond is there."""
    return path.startswith("/") and (not responds(path, FRESH) or os.path.isdir(path))


def _pid_file(path: str) -> tuple[PassedOver, ...]:
    """The file is absent, cannot be read, contains no pid, or is left from a process that has ended."""
    try:
        required(path)
        with open(path, "rb", opener=lambda name, _: os.open(name, PID_FILE)) as file:  # it closes a directory, too
            pid = int(file.read(64).split()[0])
    except FileNotFoundError:
        return (PassedOver("pid-file", f"pid_file {path} does not exist"),)
    except OSError as error:
        return (PassedOver("pid-file", f"pid_file {path} cannot be read: {error.strerror}"),)
    except (ValueError, IndexError):
        return (PassedOver("pid-file", f"pid_file {path} contains no process id"),)
    return (PassedOver("pid-file-old", f"pid_file {path} names pid {pid}, and there is no such process", pid),)
