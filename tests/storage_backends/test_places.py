"""Which place a job means, by its own words and its executor's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.errors import JobError, UsageError
from storage_backends.paths import PathError, checked_name
from storage_backends.places.choice import Defaults, Place, default_place, place
from storage_backends.places.locations import Location, read_url

AWS = {"AWS_ACCESS_KEY_ID": "k"}
GOOGLE = {"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"}


def placed(
    storage: object = None,
    prefix: object = None,
    options: Mapping[str, Any] | None = None,
    *,
    executor: str = "local",
    executor_options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    on_google: bool = False,
) -> Place:
    return place(
        storage,
        options or {},
        prefix,
        defaults=Defaults(executor, executor_options or {}),
        environ=environ or {},
        on_google=on_google,
    )


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("gs://bucket", Location("gcs", "bucket")),
        ("gs://bucket/", Location("gcs", "bucket")),
        ("GS://bucket/a/b/", Location("gcs", "bucket", "a/b")),
        ("gs://bucket/50%25 off", Location("gcs", "bucket", "50%25 off")),
        ("s3a://bucket/a", Location("s3", "bucket", "a")),
        ("gsiftp://host:2811/people/x", Location("gridftp", "gsiftp://host:2811", "people/x")),
        ("memory://x/a", Location("fsspec", "memory://x", "a")),
        ("sftp://me@host/a", Location("fsspec", "sftp://me@host", "a")),
        ("https://host/a%20b/", Location("fsspec", "https://host/a%20b")),
        ("file:///data/a/", Location("fsspec", "file:///data/a")),
        ("file:///", Location("fsspec", "file://")),
    ],
)
def test_a_url_names_a_kind_of_store_its_root_and_a_path(url: str, location: Location) -> None:
    assert read_url(url) == location


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gs://", "names no bucket"),
        ("gsiftp:///x", "names no host"),
        ("gs://bucket/a?generation=5", "no query"),
        ("s3://bucket/a#5", "no fragment"),
        ("s3://key:secret@bucket/a", "user or password"),
        ("https://me@host/a", "user or password"),
        ("sftp://me:secret@host/a", "user or password"),
        ("gs://s3://key:secret@b-1", "URL in a URL"),
        ("gs://b cket/a", "blanks"),
        ("gs://-/a", "expected 3 or more letters"),
        ("file://host/a", "three slashes"),
        ("gs://bucket/a//b", "empty part"),
        ("gs://bucket/a//", "empty part"),
        ("https://host/a%2F/", "empty part"),
        ("gs://bucket/../other", "'..' part"),
        ("https://host/a/%2e%2e/b", "'..' part"),
        ("s3://bucket/a\nb", "control character"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_a_reason(url: str, said: str) -> None:
    with pytest.raises((UsageError, PathError)) as caught:
        read_url(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def plain(name: str) -> bool:
    try:
        checked_name(name, "name")
    except PathError:
        return False
    return True


PATHS = st.text("ab.%&+ é/~", min_size=1, max_size=30).filter(plain)
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["gs://", "gs://b1b", "file://", "..", "/", "a/../b", "s3://k:secret@b", "cloud", "nfs", "://"]
)
URLS = st.builds("{}://{}".format, st.sampled_from(["gs", "s3", "memory", "gsiftp", "x"]), TEXTS)


@given(PATHS, st.sampled_from(["gs://bucket", "s3://bucket", "memory://x", "gsiftp://host:1"]))
def test_a_url_and_its_place_say_the_same(path: str, root: str) -> None:
    path = path.removesuffix("/")
    found = placed(prefix=f"{root}/{path}")
    assert (found.root_url, found.prefix) == (root, f"{path}/")
    assert placed(f"{found.root_url}/{found.prefix}") == found


@given(TEXTS | URLS)
def test_no_url_ends_in_another_error_or_outside_its_root(url: str) -> None:
    try:
        location = read_url(url)
    except (UsageError, JobError):
        return
    assert not location.path or plain(location.path)
    assert "@" not in location.root or ":" not in location.root.split("@")[0].split("://")[1]


@given(
    st.none() | TEXTS | URLS | st.integers(),
    st.none() | TEXTS | URLS | st.integers(),
    st.dictionaries(
        st.sampled_from(["bucket", "s3_bucket", "prefix", "s3_prefix", "workdir", "cloud_storage"]),
        st.none() | TEXTS | URLS | st.integers() | st.dictionaries(TEXTS, TEXTS, max_size=2),
        max_size=3,
    ),
    st.sampled_from(["local", "nfs", "gcs", "cloud", "gs://bucket/base", "gridftp", "plgdata"]),
)
def test_whatever_a_job_says_it_is_a_place_below_the_root_or_a_plain_error(
    storage: object, prefix: object, options: dict[str, Any], executor: str
) -> None:
    try:
        found = placed(storage, prefix, options, executor=executor)
    except (UsageError, JobError) as exc:
        assert "k:secret" not in str(exc)  # noqa: PT017 - an error is one of two good ends
        return
    assert not found.prefix or (found.prefix.endswith("/") and plain(found.prefix))


@pytest.mark.parametrize(
    ("storage", "prefix", "options", "expected"),
    [
        (None, None, {}, Place("local")),
        (None, "run/1/", {}, Place("local", {}, "run/1/")),
        ("sshfs", "run", {"workdir": "/d"}, Place("nfs", {"workdir": "/d"}, "run/")),
        ("nfs", "/d", {"workdir": "/other"}, Place("nfs", {"workdir": "/d"})),
        ("gcs", "bucket/run/1", {}, Place("gcs", {"bucket": "bucket"}, "run/1/")),
        ("gcs", "run/1", {"bucket": "b-1"}, Place("gcs", {"bucket": "b-1"}, "run/1/")),
        ("gs", None, {"s3_bucket": "b-1", "s3_prefix": "p"}, Place("gcs", {"bucket": "b-1"}, "p/")),
        (None, "gs://b-1/run", {"junk": 1}, Place("gcs", {"bucket": "b-1"}, "run/")),
        ("gs://b-1/run", "sub", {}, Place("gcs", {"bucket": "b-1"}, "run/sub/")),
        ("s3", "b-1/run", {}, Place("fsspec", {"url": "s3://b-1"}, "run/")),
        (
            "s3",
            None,
            {"bucket": "b-1", "prefix": "p", "region": "r", "aws_access_key_id": "k"},
            Place("fsspec", {"url": "s3://b-1", "region": "r", "key": "k"}, "p/"),
        ),
        (None, "https://host/a%20b", {}, Place("fsspec", {"url": "https://host/a%20b"})),
        (
            "gridftp",
            "gsiftp://host/people/x",
            {},
            Place("gridftp", {"url": "gsiftp://host"}, "people/x/"),
        ),
        ("plgdata", "/people/x/run", {}, Place("plgdata", {}, "people/x/run/")),
        ("gridftp", "ftp://host/x", {}, Place("gridftp", {"url": "ftp://host"}, "x/")),
        ("fsspec", None, {"url": "memory://x/a"}, Place("fsspec", {"url": "memory://x"}, "a/")),
    ],
)
def test_a_job_names_its_place(
    storage: object, prefix: object, options: dict[str, Any], expected: Place
) -> None:
    assert placed(storage, prefix, options) == expected


@pytest.mark.parametrize(
    ("storage", "prefix", "options", "said"),
    [
        ("tape", None, {}, "unknown storage backend 'tape': this Portfire has cloud, gcs"),
        ("gcs", None, {}, "names a bucket"),
        ("gcs", "/b/x", {}, "is absolute"),
        ("nfs", "gs://bucket/x", {}, "leave one of them out"),
        ("gs://bucket", "s3://bucket", {}, "different URLs"),
        ("gcs", "a", {"prefix": "b", "bucket": "b-1"}, "differ"),
        ("gcs", "a/../b", {"bucket": "b-1"}, "storage prefix 'a/../b' has a"),
        ("s3", None, {"bucket": "a/b"}, "a folder in it is the prefix"),
        ("nfs", "a//", {}, "empty part"),
        (5, None, {}, "storage is a int"),
        ("gcs", "b-1/x", {"endpoint": "https://theirs"}, "endpoint of gcs"),
        ("plgdata", "x", {"endpoint": "https://theirs"}, "endpoint of plgdata"),
        ("cloud", "b-1", {"cloud_storage": {"provider": "Rackspace"}}, "expected AWS or Google"),
        ("cloud", "b-1", {"cloud_storage": "secret"}, "by name"),
        (
            "cloud",
            "b-1",
            {"cloud_storage": {"provider": "Google", "google_json_key_location": "secret"}},
            "leave it out",
        ),
    ],
)
def test_what_names_no_place_is_refused_with_a_reason(
    storage: object, prefix: object, options: dict[str, Any], said: str
) -> None:
    with pytest.raises((UsageError, PathError)) as caught:
        placed(storage, prefix, options)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "options", "url"),
    [
        ({}, {}, "gs://b-1"),
        (GOOGLE, {}, "gs://b-1"),
        (AWS, {}, "s3://b-1"),
        ({**GOOGLE, **AWS}, {}, "s3://b-1"),
        ({"AWS_PROFILE": "me"}, {}, "s3://b-1"),
        ({"AWS_ACCESS_KEY_ID": ""}, {}, "gs://b-1"),
        (GOOGLE, {"cloud_storage": {":provider": "AWS"}}, "s3://b-1"),
        (AWS, {"cloud_storage": {"provider": "google"}}, "gs://b-1"),
        (GOOGLE, {"aws_access_key_id": "k"}, "s3://b-1"),
    ],
)
def test_cloud_is_s3_where_aws_is_named_else_gcs(
    environ: dict[str, str], options: dict[str, Any], url: str
) -> None:
    options = {**options, "bucket": "b-1"}
    assert placed(options=options, executor="cloud", environ=environ).root_url == url
    assert placed("cloud", options=options, environ=environ).root_url == url


@pytest.mark.parametrize("environ", [{}, GOOGLE, AWS])
@pytest.mark.parametrize(
    ("executor", "executor_options", "expected"),
    [
        ("s3://b-1/p", {}, Place("fsspec", {"url": "s3://b-1"}, "p/runs/42/")),
        ("s3", {"bucket": "b-1"}, Place("fsspec", {"url": "s3://b-1"}, "runs/42/")),
        ("gs://b-1/p", {}, Place("gcs", {"bucket": "b-1"}, "p/runs/42/")),
        ("gs", {"bucket": "b-1"}, Place("gcs", {"bucket": "b-1"}, "runs/42/")),
    ],
)
def test_cloud_is_the_executors_store_where_that_is_one_of_them(
    executor: str, executor_options: dict[str, Any], expected: Place, environ: dict[str, str]
) -> None:
    found = placed(
        "cloud", "runs/42", executor=executor, executor_options=executor_options, environ=environ
    )
    assert found == expected


def test_what_a_job_says_of_its_cloud_goes_over_the_executors_store() -> None:
    aws = {"cloud_storage": {"provider": "AWS"}}
    assert placed("cloud", "b-2/x", aws, executor="gs://b-1").root_url == "s3://b-2"
    google = {"cloud_storage": {"provider": "Google"}}
    assert placed("cloud", "b-2/x", google, executor="s3://b-1").root_url == "gs://b-2"


def test_a_bucket_of_hyperflows_is_one_of_s3() -> None:
    assert placed("cloud", None, {"s3_bucket": "b-1", "s3_prefix": "p"}) == Place(
        "fsspec", {"url": "s3://b-1"}, "p/"
    )


def test_cloud_storage_has_fogs_names() -> None:
    fog = {
        "provider": "AWS",
        "aws_access_key_id": "k",
        "aws_secret_access_key": "s",
        "region": "r",
        "host": "s3.example.org",
        "port": 9000,
        "scheme": "http",
        "path_style": True,
    }
    assert placed("cloud", None, {"s3_bucket": "b-1", "cloud_storage": fog}).options == {
        "url": "s3://b-1",
        "key": "k",
        "secret": "s",
        "region": "r",
        "endpoint_url": "http://s3.example.org:9000",
        "fsspec": {"config_kwargs": {"s3": {"addressing_style": "path"}}},
    }


def test_a_job_that_names_no_root_is_below_the_executors_place() -> None:
    executor: dict[str, Any] = {"executor": "gs://b-1/base", "executor_options": {"project": "p"}}
    options = {"project": "p", "bucket": "b-1"}
    assert placed(**executor) == Place("gcs", options, "base/")
    assert placed(prefix="run", **executor) == Place("gcs", options, "base/run/")
    assert placed("gcs", "run", **executor) == Place("gcs", options, "base/run/")


def test_a_job_that_names_a_root_starts_there_with_the_executors_other_options() -> None:
    executor: dict[str, Any] = {
        "executor": "gs://b-1/base",
        "executor_options": {"placeholders": False},
    }
    expected = Place("gcs", {"placeholders": False, "bucket": "b-2"}, "run/")
    assert placed(prefix="gs://b-2/run", **executor) == expected
    assert placed(None, "run", {"bucket": "b-2"}, **executor) == expected


def test_executors_options_are_for_their_own_kind_of_store() -> None:
    executor: dict[str, Any] = {
        "executor": "nfs",
        "executor_options": {"workdir": "/d", "retry_seconds": 5},
    }
    assert placed("gs://b-1", **executor).options == {"bucket": "b-1"}
    assert placed("local", **executor) == Place("local")


def test_the_executors_credentials_go_to_no_server_that_a_job_names() -> None:
    keys = {"key": "k", "secret": "s", "endpoint_url": "https://ours"}
    ours: dict[str, Any] = {"executor": "s3://b-1", "executor_options": keys}
    assert placed(prefix="s3://b-2", **ours).options == {**keys, "url": "s3://b-2"}
    assert placed(None, "s3://b-2", {"endpoint_url": "https://theirs"}, **ours).options == {
        "url": "s3://b-2",
        "endpoint_url": "https://theirs",
    }
    ours = {"executor": "sftp://ours/x", "executor_options": {"fsspec": {"password": "p"}}}
    assert placed(prefix="sftp://theirs/x", **ours).options == {"url": "sftp://theirs"}
    assert placed(prefix="sftp://ours/y", **ours).options["fsspec"] == {"password": "p"}


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint": "https://theirs"},
        {"cloud_storage": {"provider": "AWS", "host": "theirs"}},
        {"fsspec": {"endpoint_url": "https://theirs"}},
        {"fsspec": {"client_kwargs": {"endpoint_url": "https://theirs"}}},
        {"fsspec": {"config_kwargs": {"proxies": {"https": "theirs:80"}}}},
    ],
)
def test_no_other_way_to_name_a_server_gets_the_executors_keys(options: dict[str, Any]) -> None:
    keys = {"key": "k", "secret": "s", "token": "t", "endpoint_url": "https://ours"}
    found = placed("s3", "b-2/x", options, executor="s3://b-1", executor_options=keys)
    assert not {"key", "secret", "token"} & found.options.keys()


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint_url": "https://ours"},
        {"fsspec": {"config_kwargs": {"s3": {"addressing_style": "path"}}}},
    ],
)
def test_the_executors_keys_stay_where_a_job_names_its_server_or_none(
    options: dict[str, Any],
) -> None:
    keys = {"key": "k", "secret": "s", "endpoint_url": "https://ours"}
    found = placed("s3", "x", options, executor="s3://b-1", executor_options=keys)
    assert found.options == {**keys, **options, "url": "s3://b-1"}


@pytest.mark.parametrize("kind", ["gcs", "plgdata"])
def test_a_job_may_name_the_endpoint_of_its_executor_only(kind: str) -> None:
    ours: dict[str, Any] = {
        "executor": kind,
        "executor_options": {"endpoint": "https://ours", "retry_seconds": 5},
    }
    assert placed(prefix="b-1/x", **ours).options["endpoint"] == "https://ours"
    same = placed(kind, "b-1/x", {"endpoint": "https://ours"}, **ours)
    assert same.options["endpoint"] == "https://ours"
    with pytest.raises(UsageError, match="set endpoint in storage_options of the executor"):
        placed(kind, "b-1/x", {"endpoint": "https://theirs"}, **ours)
    # One that the executor has for another kind of store is none for this one.
    other: dict[str, Any] = {"executor": "nfs", "executor_options": {"endpoint": "https://ours"}}
    with pytest.raises(UsageError, match="endpoint"):
        placed(kind, "b-1/x", {"endpoint": "https://ours"}, **other)


def test_a_place_does_not_show_its_options() -> None:
    assert "hidden" not in repr(placed("s3://b-1", None, {"secret": "hidden", "key": "hidden"}))


def test_without_a_storage_set_a_bucket_means_the_cloud() -> None:
    assert placed(options={"bucket": "b-1"}).root_url == "gs://b-1"
    assert placed(options={"s3_bucket": "b-1"}, environ=GOOGLE).root_url == "s3://b-1"
    # But a storage that is set counts.
    executor: dict[str, Any] = {"executor": "nfs", "executor_options": {"workdir": "/d"}}
    assert placed(options={"s3_bucket": "b-1"}, **executor).backend == "nfs"
    assert placed("local", None, {"bucket": "b-1"}).backend == "local"


def test_on_google_cloud_a_prefix_alone_is_one_in_cloud_storage() -> None:
    expected = Place("gcs", {"bucket": "b-1"}, "run/")
    assert placed(prefix="b-1/run", on_google=True) == expected
    assert placed(prefix="/mnt/run", on_google=True).backend == "local"
    assert placed(on_google=True) == Place("local")
    set_up = placed(prefix="b-1/run", on_google=True, executor_options={"workdir": "/d"})
    assert set_up.backend == "local"


@pytest.mark.parametrize(
    ("storage", "options", "expected"),
    [
        ("local", {}, None),
        ("nfs", {}, None),
        ("nfs", {"workdir": "/d"}, Place("nfs", {"workdir": "/d"})),
        ("nfs", {"workdir": "/d", "prefix": "x"}, Place("nfs", {"workdir": "/d"}, "x/")),
        ("cloud", {}, None),
        ("cloud", {"prefix": "b-1/x"}, Place("gcs", {"bucket": "b-1"}, "x/")),
        ("gs://b-1/x", {}, Place("gcs", {"bucket": "b-1"}, "x/")),
        ("gridftp", {}, None),
        ("plgdata", {"prefix": "/people/x"}, Place("plgdata", {}, "people/x/")),
    ],
)
def test_the_executors_own_place_is_none_where_each_job_must_name_one(
    storage: str, options: dict[str, Any], expected: Place | None
) -> None:
    assert default_place(Defaults(storage, options), {}) == expected


def test_an_absolute_prefix_of_the_executor_is_a_root_for_jobs() -> None:
    executor: dict[str, Any] = {"executor": "plgdata", "executor_options": {"prefix": "/people/x"}}
    assert placed(prefix="run", **executor).prefix == "people/x/run/"
    assert placed(prefix="/people/y", **executor).prefix == "people/y/"
