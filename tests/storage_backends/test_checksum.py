"""Checksums of what is moved."""

from __future__ import annotations

import hashlib
import io

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st

from storage_backends.objects import checksum
from storage_backends.objects.checksum import Crc32c


def crc(data: bytes) -> Crc32c:
    hashed = Crc32c()
    hashed.update(data)
    return hashed


def test_crc32c_is_the_one_of_the_standard() -> None:
    assert crc(b"123456789").text() == "crc32c:e3069283"
    assert crc(b"").text() == "crc32c:00000000"


def test_crc32c_is_computed_by_the_c_library() -> None:
    assert google_crc32c.implementation == "c"


@given(st.lists(st.binary(max_size=5000), max_size=6))
def test_checksums_of_parts_join_to_that_of_the_whole(parts: list[bytes]) -> None:
    joined = Crc32c()
    for part in parts:
        joined.join(crc(part), len(part))
    assert joined.text() == crc(b"".join(parts)).text()


@given(st.lists(st.binary(max_size=100), max_size=6))
def test_blocks_are_taken_in_as_bytes_or_views(blocks: list[bytes]) -> None:
    for algorithm in ("crc32c", "md5", "sha256"):
        one, other = checksum.like(f"{algorithm}:"), checksum.like(f"{algorithm}:00")
        assert one is not None
        assert other is not None
        for block in blocks:
            one.update(block)
        other.update(memoryview(b"".join(blocks)))
        assert one.text() == other.text()


def test_a_checksum_is_of_the_algorithm_of_another() -> None:
    md5 = checksum.like("md5:0123")
    assert md5 is not None
    assert checksum.of_file(io.BytesIO(b"abc"), md5) == f"md5:{hashlib.md5(b'abc').hexdigest()}"
    assert checksum.like(None) is None
    assert checksum.like("etag:0123") is None


def test_a_tree_has_the_checksum_of_its_sorted_lines() -> None:
    lines = b"crc32c:00000001  a\ncrc32c:00000002  b/c\n"
    files = [("b/c", "crc32c:00000002"), ("a", "crc32c:00000001")]
    assert checksum.of_tree(iter(files)) == crc(lines).text()


def test_a_tree_with_a_file_of_unknown_checksum_has_none() -> None:
    assert checksum.of_tree([("a", "crc32c:00000001"), ("b", None)]) is None
    assert checksum.of_tree([("a", "etag:1")]) is None
    assert checksum.of_tree([]) is None
