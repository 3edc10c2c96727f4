"""What keeps even root from replacing a file by a rename, and how a person removes it."""

from shlex import quote
from typing import Literal

Fixed = Literal["", "immutable", "append-only", "mount point"]
FLAGS: dict[Fixed, str] = {"immutable": "-i", "append-only": "-a"}


def told(file: str, fixed: Fixed) -> str:
    """Given a file and what it is, return the clause."""
    article = "a " if fixed == "mount point" else ""
    return f"{file} is {article}{fixed}, so it cannot be replaced"


def remedy(path: str, fixed: Fixed, *, below: bool = False) -> str:
    """Given the path and what it is, return the command or the change that ends that; `below`: for all in it."""
    flag = f"-R {FLAGS.get(fixed)}" if below else FLAGS.get(fixed)
    return f"chattr {flag} {quote(path)}" if flag else f"umount {quote(path)}; mount the whole directory instead"
