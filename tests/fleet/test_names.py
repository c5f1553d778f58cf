"""Names of VMs: legal, as Borealis made them, and never those of another fleet."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.names import legal_prefix, make_names
from messaging.errors import UsageError

RFC1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@pytest.mark.parametrize(
    ("given_name", "legal"),
    [
        ("grace-wcm", "grace-wcm"),
        ("Sim_Variants", "sim-variants"),
        ("WCM Workflow 7", "wcm-7"),
        ("-x-", "x"),
        ("3d", "vm-3d"),
        ("ünï", "n"),
    ],
)
def test_a_prefix_is_made_legal(given_name: str, legal: str) -> None:
    assert legal_prefix(given_name) == legal


@pytest.mark.parametrize("text", ["", "---", "workflow", "!", "x" * 56])
def test_a_prefix_of_which_no_name_can_be_made_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        legal_prefix(text)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=80), st.integers(0, 9_999_000), st.integers(1, 1000))
def test_every_name_is_one_that_compute_engine_takes(text: str, base: int, count: int) -> None:
    try:
        prefix = legal_prefix(text)
    except UsageError:
        return
    names = make_names(prefix, base, count)
    assert len(set(names)) == count
    assert all(RFC1035.fullmatch(name) for name in names)
    assert legal_prefix(prefix) == prefix


@pytest.mark.parametrize(
    ("base", "count", "says"),
    [(0, 0, "--count is 0"), (0, -3, "--count is -3"), (-1, 1, "--base is -1"), (10**7, 1, "base")],
)
def test_numbers_that_are_none_are_refused(base: int, count: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_names("sim", base, count)
