"""What a failure printed last, fit for an event."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from executor.last_output import MAX_BYTES, MAX_LINES, last_lines


@given(st.lists(st.text(st.characters()), max_size=3))
def test_it_is_short_valid_and_harmless_whatever_was_printed(texts: list[str]) -> None:
    output = last_lines(texts) or "nothing"
    assert len(output.encode("utf-8")) <= MAX_BYTES
    assert len(output.split("\n")) <= MAX_LINES
    assert not any(ord(c) < 32 and c not in "\n\t" for c in output)


def test_the_last_lines_of_the_last_text_are_kept() -> None:
    out, err = "".join(f"out {n}\n" for n in range(50)), "".join(f"err {n}\n" for n in range(5))
    assert last_lines([out, err]) == "\n".join(
        [*(f"out {n}" for n in range(35, 50)), *(f"err {n}" for n in range(5))]
    )
    assert last_lines(["", "\n \n"]) is None


def test_a_long_line_is_cut_between_characters() -> None:
    output = last_lines(["€" * 10_000])
    assert output == "€" * (MAX_BYTES // 3)


def test_progress_bars_and_colours_are_lines_of_plain_text() -> None:
    text = "\x1b[1;31mfailed\x1b[0m\r10 %\r20 %\x07\n\x1b]0;title\x07done\udcff"
    assert last_lines([text]) == "failed\n10 %\n20 %\ndone?"
