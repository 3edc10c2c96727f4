"""What jobs and commands pass to one certs-dir: queued by any thread, read only by the deciding thread."""

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from certagent.agent.jobs.work import JobFailed, ProcessScan
from certagent.agent.memory import Message
from certagent.events import Log


class Inbox:
    """The queue of one certs-dir. `wake` makes the loop turn; it only puts."""

    def __init__(self, path: str, log: Log, wake: Callable[[str], None]) -> None:
        """An empty one."""
        self._path, self._log, self.wake = path, log, wake
        self._queue: SimpleQueue[Message] = SimpleQueue()
        self._scan: ProcessScan | None = None  # the last one
        self._silent = False  # whether that one found nothing new

    def put(self, message: Message) -> None:
        """Leave a message for the next observation."""
        self._queue.put(message)

    def taken(self) -> Iterator[Message]:
        """Every message that is there, in the order of their coming."""
        while True:
            try:
                yield self._queue.get_nowait()
            except Empty:
                return

    def job_ended(self, kind: str, subject: str, result: Any, error: Exception | None) -> None:
        """Leave what a job found, log why it failed; at its end, which is told last and alone, make the loop turn."""
        if error is not None:
            self._log.emit("action.failed", certs_dir=self._path, file=subject, reason=f"{kind}: {error}")
            self.put(JobFailed(kind, subject))  # type: ignore[arg-type]
        if result is not None:
            self.put(result)
        if kind == "scan" and isinstance(result, ProcessScan):
            self._silent, self._scan = result.repeats(self._scan), result
        if result is None and error is None and not (kind == "scan" and self._silent):
            self.wake(f"{kind} ended")
