"""A mount that hangs as a network's does: FUSE, whose daemon never answers. Whoever looks below it waits."""

import ctypes
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

DETACH = 2


class Hung:
    """Hides what lies in a directory behind a mount that answers nothing, until the block ends."""

    def __init__(self, place: Path) -> None:
        self.place, self._libc, self._fd = place, ctypes.CDLL(None, use_errno=True), -1

    def __enter__(self) -> Self:
        try:
            self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            pytest.skip(f"this kernel has no FUSE: {error}")
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        if self._libc.mount(b"hung", os.fsencode(self.place), b"fuse", 0, options.encode()) != 0:
            os.close(self._fd)
            pytest.skip(f"cannot mount FUSE here: {os.strerror(ctypes.get_errno())}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._libc.umount2(os.fsencode(self.place), DETACH)
        os.close(self._fd)  # whoever waits is told that it is over
