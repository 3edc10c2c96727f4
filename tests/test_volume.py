"""What repeats is bounded: a few lines, then one a minute with the count of those left out."""

from typing import Any

from certagent.events.volume import BURST, MINUTE, Volume


def row(number: int = 0, event: str = "finding.appeared", **about: Any) -> dict[str, Any]:
    return {"event": event, "certs_dir": "/c", "file": "node.key", "code": "key.mode", "reason": str(number), **about}


def written(volume: Volume, count: int, at: float, **about: Any) -> list[dict[str, Any]]:
    """What is written of so many lines within a second."""
    return [each for n in range(count) for each in volume.admitted(row(n, **about), at + n / count)]


def test_burst_is_written_whole() -> None:
    """A few lines of one kind are all there."""
    assert [r["reason"] for r in written(Volume(), BURST, 0)] == [str(n) for n in range(BURST)]


def test_repetition_is_one_line_a_minute_with_a_count() -> None:
    """The newest of them, and how many others there were; then again one each minute, as long as it repeats."""
    volume = Volume()
    assert len(written(volume, 500, 0)) == BURST
    (first,) = volume.due(MINUTE)
    assert (first["reason"], first["left_out"]) == ("499", 500 - BURST - 1)
    assert written(volume, 300, MINUTE + 1) == []
    (second,) = volume.due(2 * MINUTE)
    assert second["left_out"] == 299
    assert volume.due(2 * MINUTE + 1) == []
    assert volume.due(3 * MINUTE) == []
    assert len(written(volume, 500, 3 * MINUTE + 1)) == BURST, "it had stopped"


def test_single_line_left_out_is_written_without_a_count() -> None:
    """Nothing else was left out."""
    volume = Volume()
    written(volume, BURST + 1, 0)
    assert [r.get("left_out") for r in volume.due(MINUTE)] == [None]


def test_lines_of_other_files_and_directories_are_counted_apart() -> None:
    """A file that flaps hides no other one."""
    volume = Volume()
    written(volume, 100, 0)
    for other in ({"file": "ui.key"}, {"certs_dir": "/d"}, {"code": "key.owner"}, {"event": "finding.cleared"}):
        assert len(volume.admitted(row(**other), 1)) == 1


def test_what_changed_for_good_is_always_written() -> None:
    """An installed pair, a command, a start: each of them."""
    for event in ("pair.installed", "command.received", "agent.started", "reload.sent", "reload.proven"):
        assert len(written(Volume(), 100, 0, event=event)) == 100


def test_what_was_left_out_is_written_with_the_next_line() -> None:
    """Whatever that is about: nothing waits for a repetition."""
    volume = Volume()
    written(volume, BURST + 2, 0)
    told = volume.admitted(row(event="agent.stopping"), MINUTE)
    assert [r["event"] for r in told] == ["finding.appeared", "agent.stopping"]


def test_many_kinds_of_lines_are_all_written() -> None:
    """And nothing is due after them."""
    volume = Volume()
    for n in range(1000):
        volume.admitted(row(file=str(n)), 0)
    assert volume.due(MINUTE) == []
