"""`portfire storage ls|cp|check`, as a user types it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.commands.programs import Ended, portfire
from tests.services import plgdata, s3, web
from tests.services.gcs_emulator import new_bucket, shared_emulator


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a tree in it."""
    (tmp_path / "data/empty").mkdir(parents=True)
    (tmp_path / "data/sub").mkdir()
    (tmp_path / "data/a").write_text("one\n")
    (tmp_path / "data/sub/b").write_text("two\n")
    return tmp_path


def storage(directory: Path, *arguments: str, **variables: str) -> Ended:
    return portfire(directory, "storage", *arguments, **variables)


def round_trip(directory: Path, folder: str, *flags: str, **variables: str) -> None:
    """Copy the tree there and back, list it, and check the folder."""
    there = storage(directory, "cp", "data/", f"{folder}run 1/", *flags, **variables)
    assert there.code == 0, there.errors
    assert there.errors == ""
    assert there.output.startswith("8 bytes in ")
    listed = storage(directory, "ls", f"{folder}run 1/", *flags, **variables)
    names = [name for name in listed.output.splitlines() if not name.endswith("/")]
    assert names == ["a", "sub/b"]
    assert "empty/" in listed.output
    back = storage(directory, "cp", f"{folder}run 1/", "back", "--json", *flags, **variables)
    assert json.loads(back.output)["bytes"] == 8
    assert (directory / "back/sub/b").read_text() == "two\n"
    assert (directory / "back/empty").is_dir()
    checked = storage(directory, "check", f"{folder}run 1/", *flags, **variables)
    assert checked.code == 0
    lines = [line.split()[:2] for line in checked.output.splitlines()]
    assert lines == [[step, "ok"] for step in ("write", "read", "list", "delete")]
    again = storage(directory, "ls", f"{folder}run 1", *flags, **variables)
    assert again.output == listed.output


def test_a_file_system_by_its_url(files: Path) -> None:
    round_trip(files, f"file://{files}/")


def test_a_storage_without_urls_by_its_name(files: Path) -> None:
    (files / "store").mkdir()
    round_trip(files, "portfire-storage:", "--storage", "nfs", "-o", f"workdir={files}/store")
    assert (files / "store/run 1/a").exists()


def test_the_storage_of_an_executors_settings(files: Path) -> None:
    (files / "store").mkdir()
    (files / "executor.yml").write_text(
        f"storage: sshfs\nstorage_options: {{workdir: {files}/store, prefix: base}}\n"
    )
    round_trip(files, "portfire-storage:", "--settings", "executor.yml")
    assert (files / "store/base/run 1/a").exists()


def test_cloud_storage(files: Path) -> None:
    endpoint = shared_emulator()
    url = f"gs://{new_bucket(endpoint)}/"
    round_trip(files, url, STORAGE_EMULATOR_HOST=endpoint)


@pytest.mark.parametrize("named", [["--storage", "s3"], []], ids=["named", "by its URL"])
def test_s3(files: Path, named: list[str]) -> None:
    endpoint = s3.shared_endpoint()
    url = f"s3://{s3.make_bucket(endpoint)}/"
    options = {"endpoint_url": endpoint, **s3.CREDENTIALS}
    flags = [text for key, value in options.items() for text in ("-o", f"{key}={value}")]
    round_trip(files, url, *named, *flags)


def test_a_file_keeps_its_name_in_a_folder(files: Path) -> None:
    assert storage(files, "cp", "data/a", f"file://{files}/new/").code == 0
    for directory in ("here", "last"):
        (files / directory).mkdir()
    assert storage(files, "cp", f"file://{files}/new/a", "here").code == 0
    assert storage(files, "cp", f"file://{files}/here/a", f"file://{files}/last/b").code == 0
    assert (files / "last/b").read_text() == "one\n"


def test_a_name_of_the_web_is_read_as_urls_are(files: Path) -> None:
    (files / "data/50% off").write_text("sale\n")
    with web.serving(files) as url:
        ended = storage(files, "cp", f"{url}/data/50%25%20off", "copy")
        assert (ended.code, (files / "copy").read_text()) == (0, "sale\n")


def test_a_long_listing_has_sizes_and_versions(files: Path) -> None:
    long = storage(files, "ls", "-l", f"file://{files}/data/a")
    assert long.output.split()[0] == "4"
    [line] = storage(files, "ls", "--json", f"file://{files}/data/a").output.splitlines()
    assert json.loads(line)["size"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("ls", "run/"), 2, "'run/' is no URL, and no storage is set"),
        (("ls", "gs://"), 2, "names no bucket"),
        (("ls", "tape://x"), 2, "fsspec knows no tape://"),
        (("ls", "gs://bucket/../x/"), 2, "'..' part"),
        (("cp", "s3://key:secret@bucket/x", "x"), 2, "user or password"),
        (("cp", "data/a", "b"), 2, "both are local paths"),
        (("cp", "data", "file:///tmp/x/"), 2, "data is a directory: write data/"),
        (("cp", "data/", "file:///tmp/x"), 2, "write a / at its end"),
        (("cp", "missing", "file:///tmp/x"), 2, "missing: no such file"),
        (("cp", "data/", "memory://m/"), 2, "memory://m/ is a whole store"),
        (
            ("ls", "x/", "--storage", "s3", "-o", "bucket=buck", "-o", "fsspec={anonn: true}"),
            1,
            "check the storage option 'fsspec'",
        ),
        (("cp", "memory://x/missing", "y"), 1, "'missing'"),
        (("cp", "gs://bucket", "y"), 2, "is a whole store"),
        (("ls", "memory://x/", "-o", "secret"), 2, "-o needs KEY=VALUE"),
        (("ls", "x", "--storage", "tape"), 2, "unknown storage backend 'tape'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    files: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = storage(files, *arguments)
    assert ended.code == code
    assert says in ended.error_line
    assert "secret" not in ended.errors.replace("s3://key:secret", "")


class _Forbidding(BaseHTTPRequestHandler):
    """Refuses everything but listing."""

    def _answer(self, status: int, body: dict[str, object]) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        if self.path.partition("?")[0].endswith("/o"):
            self._answer(200, {"items": []})
        else:
            self._refuse()

    def _refuse(self) -> None:
        self._answer(403, {"error": {"code": 403, "message": "somebody may not do that"}})

    do_POST = do_PUT = do_DELETE = _refuse  # noqa: N815 - the base class' way to name them

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def _forbidding() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Forbidding)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_check_says_which_permission_is_missing(tmp_path: Path) -> None:
    with _forbidding() as endpoint:
        ended = storage(tmp_path, "check", "gs://bucket/x/", STORAGE_EMULATOR_HOST=endpoint)
        told = storage(
            tmp_path, "check", "gs://bucket/x/", "--json", STORAGE_EMULATOR_HOST=endpoint
        )
    assert ended.code == 1
    write, missing, read, listed, delete = ended.output.splitlines()
    assert "somebody may not do that" in write
    assert "missing: storage.objects.create" in missing
    assert "roles/storage.objectUser" in missing
    assert listed.split()[:2] == ["list", "ok"]
    assert "not tried" in read
    assert "not tried" in delete
    steps = json.loads(told.output)["steps"]
    assert [(step["step"], step["ok"]) for step in steps] == [
        ("write", False),
        ("read", False),
        ("list", True),
        ("delete", False),
    ]


def test_check_does_not_blame_a_store_for_what_its_kind_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text(plgdata.PROXY)
    (tmp_path / "files").mkdir()
    with plgdata.serving(tmp_path / "files") as service:
        variables = {"X509_USER_PROXY": f"{tmp_path}/proxy", "PLGDATA_ENDPOINT": service.url}
        ended = storage(tmp_path, "check", "people/x/", STORAGE="plgdata", **variables)
    assert ended.code == 0
    assert [line.split()[1] for line in ended.output.splitlines()] == ["ok", "ok", "-", "-"]
    [left] = [path for path in tmp_path.rglob("probe") if path.is_file()]
    assert ended.output.endswith(f"the probe stays: {left.relative_to(tmp_path / 'files')}\n")
