"""A mount that hangs as a network's does: FUSE, whose daemon never answers. Whoever looks below it waits."""

import ctypes
import errno
import os
import select
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

DETACH = 2
INIT, DESTROY = 26, 38
LOOKUP, FORGET, GETATTR, STATFS, OPENDIR, READDIR, RELEASEDIR, BATCH_FORGET = 1, 2, 3, 17, 27, 28, 29, 42
IN_HEADER = struct.Struct("<IIQQIIII")  # len, opcode, unique, nodeid, uid, gid, pid, padding
OUT_HEADER = struct.Struct("<IiQ")  # len, error, unique
LARGEST = 1 << 20


class Hung:
    """Hides what lies in a directory behind a mount that answers nothing, until the block ends.

    Its requests are never read: whoever waits for one can still be killed.
    """

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


class Deaf(Hung):
    """The nastier one: every request is read and none is answered, so that whoever waits cannot even be killed."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._over = threading.Event()
        os.set_blocking(self._fd, False)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        while not self._over.wait(0.01):
            with suppress(BlockingIOError, FileNotFoundError, InterruptedError):
                request = os.read(self._fd, LARGEST)
                if IN_HEADER.unpack_from(request)[1] == INIT:
                    self._answer(request)

    def _answer(self, request: bytes) -> None:
        """struct fuse_init_out of protocol 7.31; all that follows stays unanswered."""
        unique = IN_HEADER.unpack_from(request)[2]
        body = struct.pack("<IIIIHHIIHHI", 7, 31, 1 << 16, 0, 12, 9, 1 << 16, 1, 0, 0, 0).ljust(64, b"\0")
        os.write(self._fd, OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique) + body)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._reader.join()
        super().__exit__(kind, error, trace)


class Fading(Deaf):
    """An empty directory that nothing can be made in, until it goes deaf in the middle of a pass.

    That is at the first request of which `late` says so, given the thread that waits for it.
    """

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.late: Callable[[int], bool] = lambda _thread: False
        self.deaf = threading.Event()

    def _read(self) -> None:
        while not self._over.is_set():
            if not select.select([self._fd], [], [], 0.01)[0]:
                continue
            with suppress(BlockingIOError, FileNotFoundError, InterruptedError):
                request = os.read(self._fd, LARGEST)
                _, opcode, unique, _, _, _, thread, _ = IN_HEADER.unpack_from(request)
                if opcode == INIT:
                    self._answer(request)
                elif opcode not in {FORGET, BATCH_FORGET} and not self.deaf.is_set():
                    if self.late(thread):
                        self.deaf.set()
                    else:
                        self._empty(opcode, unique)

    def _empty(self, opcode: int, unique: int) -> None:
        """What an empty directory answers."""
        now = int(time.time())
        attributes = struct.pack("<6Q10I", 1, 0, 0, now, now, now, 0, 0, 0, stat.S_IFDIR | 0o700, 2, 0, 0, 0, 4096, 0)
        bodies = {
            GETATTR: struct.pack("<QII", 0, 0, 0) + attributes,
            OPENDIR: bytes(16),
            READDIR: b"",
            RELEASEDIR: b"",
            STATFS: bytes(80),
        }
        error = 0 if opcode in bodies else -(errno.ENOENT if opcode == LOOKUP else errno.EROFS)
        body = bodies.get(opcode, b"")
        os.write(self._fd, OUT_HEADER.pack(OUT_HEADER.size + len(body), error, unique) + body)


@contextmanager
def hanging(kind: type[Hung], *places: Path) -> Iterator[None]:
    """Several of one kind."""
    if not places:
        yield
        return
    with kind(places[0]), hanging(kind, *places[1:]):
        yield
