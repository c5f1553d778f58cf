"""The filter grammar: what matches, what is refused and where, and properties of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from messaging.errors import UsageError
from messaging.filters import MAX_DEPTH, MAX_FILTER_BYTES, parse_filter

Oracle = Callable[[Mapping[str, str]], bool]


@pytest.mark.parametrize(
    ("text", "attributes", "expected"),
    [
        ("", {}, True),
        ("attributes:a", {"a": ""}, True),
        ("attributes:a", {"b": "1"}, False),
        ('attributes.a = "1"', {"a": "1"}, True),
        ('attributes.a="1"', {"a": "2"}, False),
        ('attributes.a = "1"', {}, False),
        ('attributes.a != "1"', {"a": "2"}, True),
        ('attributes.a != "1"', {"a": "1"}, False),
        ('attributes.a != "1"', {}, True),
        ('hasPrefix(attributes.a, "job.")', {"a": "job.started"}, True),
        ('hasPrefix(attributes.a, "job.")', {"a": "executor.ready"}, False),
        ('hasPrefix(attributes.a, "")', {}, False),
        ("NOT attributes:a", {}, True),
        ("-attributes:a", {"a": "1"}, False),
        ("NOT(attributes:a OR attributes:b)", {"c": "1"}, True),
        ("NOT attributes:a AND attributes:b", {"b": "1"}, True),
        ("attributes:a AND (attributes:b OR attributes:c)", {"a": "1", "c": "1"}, True),
        ("attributes:a AND (attributes:b OR attributes:c)", {"c": "1"}, False),
        ("attributes:ce-type", {"ce-type": "1"}, True),
        ('attributes."iana.org/language" = "en"', {"iana.org/language": "en"}, True),
        ('attributes:"a b"', {"a b": "1"}, True),
        (r'attributes.a = "say \"hi\"\\"', {"a": 'say "hi"\\'}, True),
        (r'attributes.a = "\x41\u00e4\U0001F600\101\n"', {"a": "A\u00e4\U0001f600A\n"}, True),
        ("  attributes : a\tAND\n-attributes:b  ", {"a": "1"}, True),
        ("attributes:AND", {"AND": "1"}, True),
    ],
)
def test_a_filter_matches_what_it_says(
    text: str, attributes: dict[str, str], expected: bool
) -> None:
    assert parse_filter(text).matches(attributes) is expected


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (" ", 1),
        ("nonsense", 0),
        ("attributes", 10),
        ("attributes.a", 12),
        ("attributes.a = b", 15),
        ("attributes.a = 'b'", 15),
        ('attributes.a = "b', 15),
        ('attributes.a == "b"', 14),
        ('attributes.a.b = "c"', 12),
        ("attributes:a AND", 16),
        ("attributes:a attributes:b", 13),
        ("attributes:a and attributes:b", 13),
        ("attributes:a AND attributes:b OR attributes:c", 30),
        ("attributes:a OR attributes:b AND attributes:c", 29),
        ("NOT NOT attributes:a", 4),
        ("(attributes:a", 13),
        ("attributes:a)", 12),
        ('hasSuffix(attributes.a, "b")', 0),
        ('hasPrefix(attributes.a "b")', 23),
        ('attributes:a & "b"', 13),
        (r'attributes.a = "x\q"', 17),
        (r'attributes.a = "\UFFFFFFFF"', 16),
        ("(" * (MAX_DEPTH + 1) + "attributes:a" + ")" * (MAX_DEPTH + 1), MAX_DEPTH + 1),
    ],
)
def test_a_wrong_filter_is_refused_with_the_position(text: str, position: int) -> None:
    with pytest.raises(UsageError, match=f"at position {position}, found"):
        parse_filter(text)


def test_a_filter_of_256_bytes_is_the_longest() -> None:
    longest = "attributes:" + "a" * (MAX_FILTER_BYTES - 11)
    assert parse_filter(longest).text == longest
    with pytest.raises(UsageError, match="longer than 256 bytes"):
        parse_filter(longest + "a")
    with pytest.raises(UsageError, match="longer than 256 bytes"):
        parse_filter('attributes:"' + "\u00e4" * 122 + '"')


KEYS = st.sampled_from(["a", "b", "ce-type", "x.y/z", 'quo"te', "\u00fc"])
VALUES = st.text(max_size=3) | st.sampled_from(["v", "va", 'a"b', "\\", "\n"])
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=4)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def _comparisons(draw: st.DrawFn) -> tuple[str, Oracle]:
    key, value = draw(KEYS), draw(VALUES)
    name = (
        key if key.replace("-", "").isascii() and key.replace("-", "").isalnum() else _quoted(key)
    )
    kind = draw(st.sampled_from(["has", "=", "!=", "prefix"]))
    if kind == "has":
        return f"attributes:{name}", lambda a: key in a
    if kind == "=":
        return f"attributes.{name} = {_quoted(value)}", lambda a: key in a and a[key] == value
    if kind == "!=":
        text = f"attributes.{name}!={_quoted(value)}"
        return text, lambda a: not (key in a and a[key] == value)
    text = f"hasPrefix(attributes.{name},{_quoted(value)})"
    return text, lambda a: key in a and a[key].startswith(value)


@st.composite
def _compounds(
    draw: st.DrawFn, children: st.SearchStrategy[tuple[str, Oracle]]
) -> tuple[str, Oracle]:
    kind = draw(st.sampled_from(["NOT ", "-", " AND ", " OR "]))
    if kind in ("NOT ", "-"):
        text, inner = draw(children)
        return f"{kind}({text})", lambda a: not inner(a)
    parts = draw(st.lists(children, min_size=2, max_size=3))
    combine = all if kind == " AND " else any
    text = kind.join(f"({part})" for part, _ in parts)
    return text, lambda a: combine(oracle(a) for _, oracle in parts)


FILTERS = st.recursive(_comparisons(), _compounds, max_leaves=5)


@given(FILTERS, ATTRIBUTES)
def test_a_filter_means_what_its_parts_mean(
    rendered: tuple[str, Oracle], attributes: dict[str, str]
) -> None:
    text, oracle = rendered
    assume(len(text.encode()) <= MAX_FILTER_BYTES)
    assert parse_filter(text).matches(attributes) == oracle(attributes)


WORDS = ["attributes", "hasPrefix", "AND", "OR", "NOT", "a", '"v"']
SYMBOLS = [":", ".", "=", "!=", "-", "(", ")", ",", " ", '"', "\\", "\\x4", "\u00e4", "\x00"]
GRAMMAR = st.lists(st.sampled_from([*WORDS, *SYMBOLS]), max_size=25).map("".join)


@given(st.text() | GRAMMAR, ATTRIBUTES)
def test_garbage_is_a_usage_error_or_a_filter(text: str, attributes: dict[str, str]) -> None:
    try:
        parsed = parse_filter(text)
    except UsageError:
        return
    assert parsed.matches(attributes) in (True, False)


@given(FILTERS, st.data())
def test_a_cut_off_filter_is_never_another_error(
    rendered: tuple[str, Oracle], data: st.DataObject
) -> None:
    text, _ = rendered
    cut = text[: data.draw(st.integers(0, len(text)))]
    message = ""
    try:
        parse_filter(cut)
    except UsageError as error:
        message = str(error)
    assert "\n" not in message
