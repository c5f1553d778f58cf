r"""Subscription filters: the whole of Pub/Sub's published filter grammar, parsed and evaluated.

::

    filter     = term { "AND" term } | term { "OR" term }
    term       = [ "NOT" | "-" ] ( "(" filter ")" | comparison )
    comparison = "attributes" ":" key
               | "attributes" "." key ( "=" | "!=" ) string
               | "hasPrefix" "(" "attributes" "." key "," string ")"
    key        = letters, digits, "_", "-"  | string
    string     = '"' characters, escapes '"'      escapes: \" \\ \n \x41 \101 \u0041 \U00000041 ...

AND and OR do not mix without parentheses; names and operators are case-sensitive; ``!=`` is the
negation of ``=``, so it also matches messages without the attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from messaging.errors import UsageError

MAX_FILTER_BYTES = 256
#: Deeper parentheses are refused, lest a filter exhaust the interpreter's stack.
MAX_DEPTH = 40
MAX_CODE_POINT = 0x10FFFF

Predicate = Callable[[Mapping[str, str]], bool]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<word>[A-Za-z0-9_][A-Za-z0-9_-]*)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<symbol>!=|[=:.,()-])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"""\\(?:
      x(?P<hex>[0-9A-Fa-f]{2})
    | u(?P<u4>[0-9A-Fa-f]{4})
    | U(?P<u8>[0-9A-Fa-f]{8})
    | (?P<octal>[0-7]{3})
    | (?P<char>["'\\abfnrtv?`])
    | (?P<bad>.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_CHARACTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True)
class Filter:
    """A parsed filter. Immutable; safe to share between threads."""

    #: As it was written.
    text: str
    _predicate: Predicate = field(repr=False, compare=False)

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Whether a message with these attributes passes. Never raises."""
        return self._predicate(attributes)


def parse_filter(text: str) -> Filter:
    """Parse `text`; the empty text matches everything.

    Raises UsageError, naming the position (in characters, from 0) and what was expected there.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_FILTER_BYTES:
        raise UsageError(f"filter is longer than {MAX_FILTER_BYTES} bytes: shorten it: {text!r}")
    if not text:
        return Filter("", lambda _attributes: True)
    return Filter(text, _Parser(text).parse())


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._tokenize())
        self._next = 0
        self._depth = 0

    def parse(self) -> Predicate:
        predicate = self._filter()
        if self._peek.kind != "end":
            self._fail("AND, OR or the end")
        return predicate

    def _tokenize(self) -> list[_Token]:
        tokens = []
        position = 0
        end = len(self._text.rstrip())
        while position < end:
            match = _TOKEN.match(self._text, position)
            if match is None:
                stripped = self._text[position:].lstrip()
                self._refuse(
                    len(self._text) - len(stripped), "a name, string or operator", stripped
                )
            kind = str(match.lastgroup)
            tokens.append(_Token(kind, match[kind], match.start(kind)))
            position = match.end()
        return [*tokens, _Token("end", "", len(self._text))]

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, text: str) -> bool:
        """Consume the next token if it is this word or symbol."""
        token = self._peek
        if token.kind == "string" or token.kind == "end" or token.text != text:
            return False
        self._next += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._fail(f"'{text}'")

    def _filter(self) -> Predicate:
        terms = [self._term()]
        operator = self._peek.text if self._peek.kind == "word" else ""
        if operator in ("AND", "OR"):
            while self._take(operator):
                terms.append(self._term())
            if self._peek.text in ("AND", "OR"):
                self._fail("parentheses, since AND and OR do not mix without them")
        if len(terms) == 1:
            return terms[0]
        combine = all if operator == "AND" else any
        return lambda attributes: combine(term(attributes) for term in terms)

    def _term(self) -> Predicate:
        if self._take("NOT") or self._take("-"):
            inner = self._simple()
            return lambda attributes: not inner(attributes)
        return self._simple()

    def _simple(self) -> Predicate:
        if not self._take("("):
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"at most {MAX_DEPTH} nested parentheses")
        inner = self._filter()
        self._expect(")")
        self._depth -= 1
        return inner

    def _comparison(self) -> Predicate:
        if self._take("hasPrefix"):
            return self._prefix()
        if not self._take("attributes"):
            self._fail("'attributes', 'hasPrefix', 'NOT' or '('")
        if self._take(":"):
            key = self._key()
            return lambda attributes: key in attributes
        self._expect(".")
        return self._equality()

    def _equality(self) -> Predicate:
        key = self._key()
        negated = self._take("!=")
        if not negated:
            self._expect("=")
        value = self._string()
        if negated:
            return lambda attributes: attributes.get(key) != value
        return lambda attributes: attributes.get(key) == value

    def _prefix(self) -> Predicate:
        self._expect("(")
        self._expect("attributes")
        self._expect(".")
        key = self._key()
        self._expect(",")
        prefix = self._string()
        self._expect(")")
        # A missing attribute has no prefix, not even the empty one.
        return lambda attributes: key in attributes and attributes[key].startswith(prefix)

    def _key(self) -> str:
        token = self._peek
        if token.kind == "word":
            self._next += 1
            return token.text
        return self._string("an attribute's key")

    def _string(self, expected: str = "a string in double quotes") -> str:
        token = self._peek
        if token.kind != "string":
            self._fail(expected)
        self._next += 1
        return _ESCAPE.sub(lambda match: self._unescape(match, token), token.text[1:-1])

    def _unescape(self, match: re.Match[str], token: _Token) -> str:
        kind, digits = str(match.lastgroup), match[match.lastgroup or 0]
        if kind == "char":
            return _CHARACTERS.get(digits, digits)
        code = -1 if kind == "bad" else int(digits, 8 if kind == "octal" else 16)
        if not 0 <= code <= MAX_CODE_POINT:
            self._refuse(token.position + 1 + match.start(), "an escape sequence", match[0])
        return chr(code)

    def _fail(self, expected: str) -> NoReturn:
        self._refuse(self._peek.position, expected, self._peek.text)

    def _refuse(self, position: int, expected: str, found: str) -> NoReturn:
        seen = repr(found[:20]) if found else "the end"
        raise UsageError(
            f"filter {self._text!r}: expected {expected} at position {position}, found {seen}"
        )
