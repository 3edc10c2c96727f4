"""What a terminal shows while a command waits."""

import os
import sys
import threading
import time
from typing import Self, TextIO

from certagent.cli.common import harmless
from certagent.cli.showing import painted


class Ticker:
    """While a command takes longer than a second, a line on a terminal says so."""

    AFTER = 1.0

    def __init__(self, what: str, stream: TextIO) -> None:
        """`what` is waited for."""
        self._guard = threading.Lock()
        self._what, self._progress, self._done = what, Progress(stream), threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True) if stream.isatty() else None

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def say(self, text: str) -> None:
        """Print a part of the result now, in the place of the line."""
        with self._guard:
            self._progress.clear()
            print(painted(harmless(text), sys.stdout, os.environ), flush=True)

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._done.wait(self.AFTER):
            with self._guard:
                self._progress.show(f"{self._what}: working", time.monotonic() - begin)
        self._progress.clear()


class Progress:
    """One line on a terminal that shows what the command waits for; nothing if the stream is not a terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Shows nothing yet."""
        self._stream = stream if stream.isatty() else None

    def show(self, text: str, seconds: float) -> None:
        """Replace the line."""
        if self._stream is not None:
            self._stream.write(f"\r\x1b[K{text} ({seconds:.0f} s)")
            self._stream.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
