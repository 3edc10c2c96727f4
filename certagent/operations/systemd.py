"""What systemd says of units: its own command, with a deadline; no systemd is an empty answer."""

import shlex
import subprocess

from certagent.core.units import unit_reading

PATIENCE = 5.0
ARGV = " argv[]="


def properties(unit: str, *names: str) -> dict[str, str]:
    """Given a unit, return these properties of it; {} where there is no systemd, or it does not answer."""
    wanted = [f"--property={name}" for name in names]
    lines = _asked("show", *wanted, "--", unit).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def user_reading(config: str) -> str:
    """Whom the installed unit that reads a configuration runs as; "" where none is known to read it."""
    unit = unit_reading(config)
    says = properties(f"{unit}.service", "LoadState", "User") if unit else {}
    return (says.get("User") or "root") if says.get("LoadState") == "loaded" else ""


def units(pattern: str) -> tuple[str, ...]:
    """The services whose names match, whether they run or not."""
    listed = _asked("list-unit-files", "--type=service", "--no-legend", "--plain", "--", pattern).splitlines()
    return tuple(words[0] for line in listed if (words := line.split()) and "@." not in words[0])


def command_in(exec_start: str) -> list[str]:
    """Given the property ExecStart, return the words of its first command; [] where it has none.

    systemd shows them joined by spaces: a word that contains one comes out as two.
    """
    _, found, rest = exec_start.partition(ARGV)
    try:
        return shlex.split(rest.partition(" ; ")[0]) if found else []
    except ValueError:
        return rest.partition(" ; ")[0].split()


def _asked(*words: str) -> str:
    try:
        done = subprocess.run(
            ["systemctl", "--no-pager", *words],  # noqa: S607 - systemd's place differs between distributions
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
