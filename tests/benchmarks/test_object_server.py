"""The benchmark's server, asked by Google's own client library."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from google.api_core.exceptions import BadRequest, NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from benchmarks.files import content, file_name
from benchmarks.object_server import Server, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(files=5, large_mib=3) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(server: Server) -> Any:
    client = Client(
        project="bench",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": server.url},
    )
    return client.bucket("bench")


def test_a_listing_has_all_names_below_its_prefix_page_by_page(bucket: Any) -> None:
    pages = list(bucket.list_blobs(prefix="tree/", page_size=2).pages)
    names = [blob.name for page in pages for blob in page]
    assert len(pages) == 3
    assert names == sorted(f"tree/{file_name(number)}" for number in range(5))


def test_a_small_file_comes_whole_and_with_its_checksum(bucket: Any) -> None:
    blob = bucket.get_blob(f"tree/{file_name(3)}")
    assert blob.download_as_bytes(checksum="crc32c") == content(3)


def test_ranges_of_the_large_file_make_the_whole(bucket: Any) -> None:
    blob = bucket.get_blob("large")
    ranges = [
        (start, min(start + (1 << 20), blob.size) - 1) for start in range(0, blob.size, 1 << 20)
    ]
    parts = [blob.download_as_bytes(start=start, end=end) for start, end in ranges]
    whole = io.BytesIO()
    blob.download_to_file(whole, checksum="crc32c")
    assert b"".join(parts) == whole.getvalue()


@pytest.mark.parametrize("chunk_size", [None, 1 << 18], ids=["multipart", "resumable"])
def test_an_upload_can_be_read_again(bucket: Any, chunk_size: int | None) -> None:
    sent = content(1) * 60
    name = f"up/of {chunk_size}"
    blob = bucket.blob(name, chunk_size=chunk_size)
    # Of unknown size it goes in chunks.
    blob.upload_from_file(io.BytesIO(sent), size=None if chunk_size else len(sent))
    assert bucket.get_blob(name).download_as_bytes() == sent


def test_a_generation_that_is_not_there_any_more_is_refused(bucket: Any) -> None:
    blob = bucket.blob("up/once")
    blob.upload_from_string(b"first", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"second", if_generation_match=0)
    blob.upload_from_string(b"second", if_generation_match=blob.generation)
    assert blob.download_as_bytes() == b"second"


def test_a_deleted_object_is_gone(bucket: Any) -> None:
    blob = bucket.blob("up/short-lived")
    blob.upload_from_string(b"here")
    blob.delete()
    with pytest.raises(NotFound):
        blob.reload()
    with pytest.raises(NotFound):
        blob.delete()


def test_a_checksum_that_is_not_that_of_the_content_is_refused(bucket: Any) -> None:
    body = (
        b'--x\r\ncontent-type: application/json\r\n\r\n{"name": "up/bad", "crc32c": "AAAAAA=="}'
        b"\r\n--x\r\ncontent-type: text/plain\r\n\r\nsome\r\n--x--"
    )
    answer = requests.post(
        f"{bucket.client.api_endpoint}/upload/storage/v1/b/bench/o?uploadType=multipart",
        data=body,
        headers={"content-type": "multipart/related; boundary=x"},
        timeout=10,
    )
    assert answer.status_code == 400


def test_a_parameter_that_it_does_not_know_is_refused(bucket: Any) -> None:
    with pytest.raises(BadRequest, match="delimiter"):
        list(bucket.list_blobs(delimiter="/"))


def test_delays_of_requests_overlap() -> None:
    with serving(delay_ms=500, files=1) as server, ThreadPoolExecutor(8) as pool:
        url = f"{server.url}/storage/v1/b/bench/o"
        began = time.monotonic()
        answers = list(pool.map(lambda _: requests.get(url, timeout=10), range(8)))
        seconds = time.monotonic() - began
    assert all(answer.ok for answer in answers)
    assert 0.5 <= seconds < 8 * 0.5
