"""Tasks and raw jobs in stores that they, or their executor, name: real ones, end to end."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest

from executor.files import storage as job_storage
from executor.raw_job import run_raw_job
from messaging.wire import RawJob, Reply, decode_job
from storage_backends import StorageBackend, open_backend
from tests.services import gridftp, plgdata, s3
from tests.services.gcs_emulator import new_bucket, shared_emulator
from tests.tasks.commands import failure, run
from tests.tasks.conftest import RecordingContext

FILES: dict[str, Any] = {"inputs": ["a"], "outputs": ["tree/"]}
COMMAND = "mkdir -p tree/empty && cat a a > tree/b"


def put(backend: StorageBackend, directory: Path, name: str) -> None:
    (directory / "source").write_text("1")
    backend.store(directory / "source", name, within=directory)


def content(backend: StorageBackend, directory: Path, name: str) -> str:
    backend.fetch(name, directory / "fetched")
    return (directory / "fetched").read_text()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of Google's emulator, which is where Cloud Storage is in this test."""
    endpoint = shared_emulator()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    return new_bucket(endpoint)


@pytest.mark.parametrize(
    ("executor", "parameters"),
    [
        (("gs://BUCKET/base", {}), {"storage_prefix": "run"}),
        (("gcs", {"bucket": "BUCKET", "prefix": "base"}), {"storage_prefix": "run"}),
        (("gcs", {}), {"storage_prefix": "BUCKET/base/run"}),
        (("cloud", {}), {"storage_prefix": "BUCKET/base/run/"}),
        (("local", {}), {"storage_prefix": "gs://BUCKET/base/run"}),
        (("local", {}), {"storage": "gcs", "storage_prefix": "BUCKET/base/run"}),
        (("local", {}), {"options": {"bucket": "BUCKET", "prefix": "base/run"}}),
    ],
)
def test_every_way_to_name_a_folder_of_a_bucket(
    context: RecordingContext,
    bucket: str,
    tmp_path: Path,
    executor: tuple[str, dict[str, str]],
    parameters: dict[str, Any],
) -> None:
    def named(words: Any) -> Any:
        return json.loads(json.dumps(words).replace("BUCKET", bucket))

    context.storage, context.storage_options = named(executor)
    with open_backend("gcs", {"bucket": bucket}) as backend:
        put(backend, tmp_path, "base/run/a")
        run(COMMAND, **FILES, **named(parameters))
        assert content(backend, tmp_path, "base/run/tree/b") == "11"
        names = [entry.name for entry in backend.entries("base/run/tree/")]
        assert "base/run/tree/empty/" in names
    [file] = context.fields("stage-in.finished")["files"]
    assert file["checksum"].startswith("crc32c:")
    assert context.fields("stage-out.finished")["backend"] == "gcs"


def test_on_a_vm_of_googles_a_prefix_is_one_in_cloud_storage(
    context: RecordingContext, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = tmp_path / "product_name"
    product.write_text("Google Compute Engine\n")
    monkeypatch.setattr(job_storage, "_PRODUCT", product)
    context.storage, context.storage_options = "local", {}
    with open_backend("gcs", {"bucket": bucket}) as backend:
        put(backend, tmp_path, "run/a")
        run(COMMAND, **FILES, storage_prefix=f"{bucket}/run")
        assert content(backend, tmp_path, "run/tree/b") == "11"


def test_a_bucket_that_does_not_exist_is_named(context: RecordingContext, bucket: str) -> None:
    error = failure("true", inputs=["a"], storage_prefix=f"gs://no-{bucket}/x")
    assert error.phase == "stage-in"
    assert f"gs://no-{bucket}/x/a" in error.reason
    assert not error.retry
    assert context.events


def raw(directory: Path, **fields: Any) -> Reply:
    job = decode_job(json.dumps({"executable": "sh", "args": ["-c", COMMAND], **fields}).encode())
    assert isinstance(job, RawJob)
    return run_raw_job(job, "job-1", directory).reply


@pytest.mark.parametrize("storage", [{}, {"storage": "cloud"}, {"storage": "s3"}])
def test_a_job_of_hyperflows_with_its_own_provider_settings(
    context: RecordingContext, launch_directory: Path, tmp_path: Path, storage: dict[str, str]
) -> None:
    context.storage, context.storage_options = "cloud", {}
    endpoint = s3.shared_endpoint()
    bucket = s3.make_bucket(endpoint)
    host, port = endpoint.removeprefix("http://").split(":")
    provider = {
        "provider": "AWS",
        "aws_access_key_id": s3.CREDENTIALS["key"],
        "aws_secret_access_key": s3.CREDENTIALS["secret"],
        "region": s3.CREDENTIALS["region"],
        "scheme": "http",
        "host": host,
        "port": int(port),
        "path_style": True,
    }
    options = {"s3_bucket": bucket, "s3_prefix": "run", "cloud_storage": provider, **storage}
    own = {"url": f"s3://{bucket}", "endpoint_url": endpoint, **s3.CREDENTIALS}
    with open_backend("fsspec", own) as backend:
        put(backend, tmp_path, "run/a")
        reply = raw(
            launch_directory,
            inputs=[{"name": "a"}],
            outputs=[{"name": "tree/"}],
            options=options,
        )
        assert reply.exceptions is None
        assert content(backend, tmp_path, "run/tree/b") == "11"
    assert context.fields("stage-in.finished")["backend"] == "s3"


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_url_of_any_protocol(context: RecordingContext, tmp_path: Path, kind: str) -> None:
    (tmp_path / "files").mkdir()
    urls = {"memory": f"memory://{uuid.uuid4().hex}", "file": f"file://{tmp_path}/files"}
    with open_backend("fsspec", {"url": urls[kind]}) as backend:
        put(backend, tmp_path, "a")
        run(COMMAND, **FILES, storage_prefix=urls[kind])
        assert content(backend, tmp_path, "tree/b") == "11"
    assert context.asked == 1
    assert context.fields("stage-in.finished")["backend"] == kind


@pytest.mark.parametrize("way", ["job", "executor"])
def test_a_folder_of_a_gridftp_server(context: RecordingContext, way: str) -> None:
    url, files = gridftp.shared_server()
    folder = gridftp.make_place(files)
    (folder / "a").write_text("1")
    if way == "executor":
        context.storage, context.storage_options = "gridftp", {"url": f"{url}{folder.parent}"}
        run(COMMAND, **FILES, storage_prefix=folder.name)
    else:
        run(COMMAND, **FILES, storage="gridftp", storage_prefix=f"{url}{folder}/")
    assert (folder / "tree/b").read_text() == "11"
    assert (folder / "tree/empty").is_dir()
    shutil.rmtree(folder)


def test_a_folder_of_pl_grid_data(
    context: RecordingContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proxy").write_text(plgdata.PROXY)
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    place = tmp_path / "files/people/plgme/run"
    place.mkdir(parents=True)
    (place / "a").write_text("1")
    with plgdata.serving(tmp_path / "files") as service:
        monkeypatch.setenv("PLGDATA_ENDPOINT", service.url)
        context.storage, context.storage_options = "plgdata", {"prefix": "/people/plgme"}
        run("cat a a > b", inputs=["a"], outputs=["b"], storage_prefix="run")
        run("cat a a a > c", inputs=["a"], outputs=["c"], storage_prefix="/people/plgme/run")
    assert [(place / name).read_text() for name in "bc"] == ["11", "111"]
