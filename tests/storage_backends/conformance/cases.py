"""Names for the exam: odd ones that must come back, and bad ones that a store may hold already."""

from __future__ import annotations

from collections.abc import Mapping

#: Plain paths that a URL, a shell or a pattern could take for something else.
ODD_NAMES = (
    "with space",
    " a ",
    "100%",
    "a%20b",
    "a%2Fb",
    "a#b",
    "a?b=c&d",
    "a+b",
    "a*b",
    "[a]{b}",
    "~",
    "-rf",
    ">x",
    "'\"`$",
    "a:b@c;d,e",
    "..a",
    "a..",
    "zażółć/gęślą jaźń",
    "日本語.txt",
    "🎆",
)

LONG_NAMES = ("x" * 255, "/".join(["y" * 224] * 4), "ü" * 127)

PARENT = "a part '..'"
DOT = "a part '.'"
ABSOLUTE = "an absolute name"
EMPTY_PART = "an empty part"
CONTROL = "a control character"
BACKSLASH = "a backslash"
LONG = "a part of 300 bytes"
FILE_AND_TREE = "a file and a directory of one name"

#: What a store may hold below ``bad/``, so that the tree cannot be fetched; the first is at fault.
BAD_OBJECTS: Mapping[str, tuple[str, ...]] = {
    PARENT: ("bad/../../escaped", "bad/good"),
    DOT: ("bad/./dot", "bad/good"),
    ABSOLUTE: ("bad//tmp/portfire-escaped", "bad/good"),
    EMPTY_PART: ("bad/sub//file", "bad/good"),
    CONTROL: ("bad/a\x07b", "bad/good"),
    BACKSLASH: ("bad/..\\b", "bad/good"),
    LONG: ("bad/" + "z" * 300, "bad/good"),
    FILE_AND_TREE: ("bad/both", "bad/both/file", "bad/good"),
}
