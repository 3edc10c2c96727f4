"""`type = "dropbox"`: a CA that people operate: requests in an outbox, certificates in an inbox."""

from collections.abc import Iterator

from certagent.config.reader import absolute
from certagent.config.remote import CaType, RemoteConfig, Setting, Traits, seconds


def problems(made: RemoteConfig) -> Iterator[tuple[str, str]]:
    """What is wrong between the settings: (key, sentence)."""
    out, back = made.options["outbox"], made.options["inbox"]
    if out and back and (out == back or f"{out}/".startswith(f"{back}/") or f"{back}/".startswith(f"{out}/")):
        yield "inbox", "outbox and inbox must be two directories, and neither may be inside the other"


def traits(made: RemoteConfig) -> Traits:
    """What the daemon must know of one."""
    return Traits(files=(made.options["outbox"], made.options["inbox"]))


CA_TYPE = CaType(
    asked="files",
    account=False,
    problems=problems,
    traits=traits,
    settings={
        "outbox": Setting(absolute, "", required=True),
        "inbox": Setting(absolute, "", required=True),
        "remind": Setting(seconds, 86400.0),
    },
)
