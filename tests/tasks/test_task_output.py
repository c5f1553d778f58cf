"""Lines of a task's output for logs."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from executor.task_output import BURST, LONGEST, RATE, LineListener


class Log:
    """Collects what is delivered, by a clock of its own."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.dropped = 0
        self.time = 0.0
        self.listener = LineListener(self._deliver, lambda: self.time)

    def _deliver(self, lines: list[tuple[str, str]], dropped: int) -> None:
        self.lines += lines
        self.dropped += dropped


@given(st.text(alphabet="ab\n", max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_lines_are_the_same_however_the_blocks_are_cut(text: str, cuts: list[int]) -> None:
    log, data = Log(), text.encode()
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        log.listener(1, data[start:end])
    log.listener.finish()
    assert [line for _, line in log.lines] == text.splitlines()
    assert log.dropped == 0


def test_streams_are_told_apart_and_not_mixed_in_a_line() -> None:
    log = Log()
    log.listener(1, b"out")
    log.listener(2, b"err\n")
    log.listener(1, b"put\n")
    assert log.lines == [("stderr", "err"), ("stdout", "output")]


def test_a_flood_is_cut_and_counted() -> None:
    log = Log()
    for _ in range(10):
        log.listener(1, b"x\n" * 1000)
    assert len(log.lines) == BURST
    log.time += 2.0
    log.listener(1, b"later\n" * 1000)
    log.listener.finish()
    assert len(log.lines) == BURST + 2 * RATE
    assert len(log.lines) + log.dropped == 11_000


def test_a_line_without_end_stays_short_in_memory() -> None:
    log = Log()
    for _ in range(1000):
        log.listener(1, b"x" * 65_536)
    log.listener.finish()
    assert log.lines == [("stdout", "x" * LONGEST)]


def test_bytes_that_are_no_text_are_shown_replaced() -> None:
    log = Log()
    log.listener(1, b"\xff\xfe ok\r\n")
    assert log.lines == [("stdout", "�� ok")]
