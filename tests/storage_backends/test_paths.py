"""Names of inputs and outputs: what is refused, and that nothing accepted leads outside."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_backends.paths import PathError, below, checked_name, checked_names


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "./a",
        "a/./b",
        ".",
        "a//b",
        "a//",
        "a\\..\\b",
        "a\0b",
        "a\nb",
        "x" * 256,
        "a/" * 600,
        "\udcff",
        None,
        7,
        b"a",
        ["a"],
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(name: object) -> None:
    with pytest.raises(PathError, match="input") as caught:
        checked_name(name, "input")
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "name", ["a", "a/b.txt", "tree/", "..a", "a..", "...", "ü/ñ", " a b ", "-rf", ">x", "~", "*"]
)
def test_an_odd_but_plain_name_is_taken_as_it_is(name: str) -> None:
    assert checked_name(name, "input") == name


@pytest.mark.parametrize("names", [["a", "a"], ["a", "b", "a/"]])
def test_a_name_given_twice_is_refused(names: list[str]) -> None:
    with pytest.raises(PathError, match="twice"):
        checked_names(names, "output")


_PARTS = st.sampled_from(["..", ".", "", "a", "b", "\\", "\0", "/", "~", "link", "ü"])
_NAMES = st.text() | st.lists(_PARTS, max_size=6).map("/".join)


@given(_NAMES)
def test_no_accepted_name_leads_out_of_the_directory(name: str) -> None:
    with tempfile.TemporaryDirectory() as top:
        root = Path(top) / "job"
        root.mkdir()
        (root / "link").symlink_to("..")
        try:
            path = below(root, checked_name(name, "input"), "input")
        except PathError:
            return
        assert path.is_relative_to(root.resolve())
        assert path != root.resolve()


@given(_NAMES, _NAMES)
def test_two_accepted_names_are_two_places(one: str, other: str) -> None:
    try:
        checked = checked_names([one, other], "input")
    except PathError:
        return
    root = Path("/job")
    assert (root / checked[0]) != (root / checked[1])
