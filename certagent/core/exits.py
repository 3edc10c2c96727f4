"""The exit code of a status document."""

from typing import Any

from certagent.core.catalogue import AGENT_STALLED

EXITS = {"ok": 0, "info": 0, "warning": 1, "critical": 2}
UNKNOWN = 3


def exit_code(document: dict[str, Any]) -> int:
    """0 ok, 1 warning, 2 critical, 3 unknown: also where a directory was not checked for too long."""
    codes = {f["code"] for directory in document["certs_dirs"] for f in directory["findings"]}
    return UNKNOWN if AGENT_STALLED.code in codes else EXITS.get(document["severity"], UNKNOWN)
