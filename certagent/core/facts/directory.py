"""The certs-dir itself, and its mode: managed, or observed only."""

from dataclasses import dataclass
from enum import Enum

from certagent.core.obstacles import Fixed

SHARED_WRITE = 0o022


class Why(Enum):
    """Why a certs-dir is observed only: what is said of it, and the remedy."""

    KUBERNETES = ("the files are externally managed", "use an authority of type none")
    MOUNT = ("the files are externally managed", "use an authority of type none, or mount the whole directory")
    ANOTHER_AGENT = ("another agent manages it", "stop one of the two, or remove the directory from one configuration")
    FORBIDDEN = ("this agent may not change it", "let the agent's user own it, or run the agent as its owner")
    READ_ONLY = ("its file system is read-only", "mount it writable (ReadWritePaths= of the unit)")
    FULL = ("its file system is full", "free disk space")
    UNUSABLE = ("its staging area cannot be used", "repair or remove .certagent")
    SHARED = ("an agent that is root serves only what root alone can write", "run the agent as the directory's owner")

    def __init__(self, says: str, remedy: str) -> None:
        """One clause, and one remedy."""
        self.says, self.remedy = says, remedy

    @property
    def prevents(self) -> bool:
        """Whether the agent is meant to change the directory, and cannot.

        Else another tool or agent manages it, or should.
        """
        return self in {Why.FORBIDDEN, Why.READ_ONLY, Why.FULL, Why.UNUSABLE}


@dataclass(frozen=True, slots=True)
class ObserveOnly:
    """Nothing in the directory is changed; it is still judged, and processes are reloaded and verified."""

    why: Why
    detail: str
    cause: str = ""  # who may not do what with which part of the path
    advice: str = ""  # the exact command or setting, where it is known

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.advice or self.why.remedy

    @property
    def reason(self) -> str:
        """One sentence."""
        return f"{self.why.says}: {self.detail}" + (f"; {self.cause}" if self.cause else "")


@dataclass(frozen=True, slots=True)
class Directory:
    """The certs-dir itself."""

    path: str
    exists: bool
    device: int = 0
    inode: int = 0
    uid: int = 0
    gid: int = 0
    mode: int = 0
    observe_only: ObserveOnly | None = None  # None: managed
    interrupted: bool = False  # an intent stands: a swap did not finish
    problem: str | None = None
    advice: str = ""  # the remedy of the problem, where it is known
    too_large: str = ""  # what was not examined, because there is too much
    not_directory: bool = False  # the problem: the path, or a part of it, is not a directory
    fixed: Fixed = ""  # why nothing in it can be replaced
    read_only: bool = False  # mounted so, here: whatever its mode, nobody replaces a file through this mount
    odd: tuple[str, ...] = ()  # what stands in its staging area and is not certagent's

    @property
    def managed(self) -> bool:
        """Whether this agent may change what is in it."""
        return self.observe_only is None

    @property
    def shared(self) -> bool:
        """Whether other users may replace files. The kubelet makes its volumes 1777, and mounts each read-only."""
        volume = self.observe_only is not None and self.observe_only.why is Why.KUBERNETES
        return bool(self.mode & SHARED_WRITE) and not (volume and self.read_only)

    @property
    def left_alone(self) -> bool:
        """Whether this agent has nothing to do with it: others than root could mislead an agent that is root."""
        return self.observe_only is not None and self.observe_only.why is Why.SHARED
