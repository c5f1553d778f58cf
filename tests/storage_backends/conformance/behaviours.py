"""What the exam examines that some stores cannot do; a kind of store `lacks` some of these.

The table of docs/storage.md is made of them: a store has every behaviour that its kind does not
lack, and each is tested on every kind that has it.
"""

from __future__ import annotations

from collections.abc import Mapping

WRITES = "writes"
TREES = "trees"
EMPTY_DIRECTORIES = "empty directories"
REMOVES = "removes"
CHECKSUMS = "checksums"
VERSIONS = "versions"
PERMISSIONS = "keeps permissions"
RANGES = "ranges"
ODD_NAMES = "odd names"
LONG_NAMES = "long names"
WHOLE_VERSIONS = "whole versions"
STOPS = "stops midway"
FILE_AND_TREE = "a file or a tree"

#: For people, in the order of the table.
DESCRIPTIONS: Mapping[str, str] = {
    WRITES: "stores files (else only fetches)",
    TREES: "lists and fetches trees",
    EMPTY_DIRECTORIES: "keeps empty directories of a tree",
    REMOVES: "removes files and trees",
    FILE_AND_TREE: "says so when a tree is asked for as a file",
    ODD_NAMES: "takes any letters, spaces, `%`, `#`, `?` and `+` in names",
    LONG_NAMES: "takes names of 255 bytes a part, and 900 in all",
    CHECKSUMS: "compares checksums at both ends (else sizes)",
    VERSIONS: "tells when a file has changed, so the input cache works",
    PERMISSIONS: "keeps permission bits: a program stays executable",
    RANGES: "moves a large file in several parts side by side",
    WHOLE_VERSIONS: "a file that is replaced meanwhile is fetched whole, old or new",
    STOPS: "stops in the middle of a file when the job is stopped",
}
