"""Which place in which store a job means, by its own words and by those of its executor.

A job may name a ``storage`` (a name or a URL), ``options`` and a ``prefix`` (a folder, or a URL);
what it does not say, its executor's settings do:

1. A URL chooses the store, else the name, else the executor's store.
2. Options of the executor count where the job means the same store; the job's go over them.
3. A job that names a root itself (bucket, URL, ``workdir``) starts there; any other one starts at
   the executor's prefix, and its own is a folder below.
4. Where nobody has named a bucket, the first part of the prefix is the bucket, as in Borealis.

``cloud`` is what the job says by `provider_options.provider`, else the executor's store if that is
S3 or GCS, else S3 where AWS is named (there, or by credentials in the environment), else GCS.

Credentials of the executor's machine go to no endpoint that a job names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from messaging.errors import UsageError
from storage_backends.paths import PathError, checked_name
from storage_backends.places.endpoints import named_endpoints, require_no_other_endpoint
from storage_backends.places.locations import Kind, Location, checked_bucket, is_url, read_url
from storage_backends.places.provider_options import aws_options, google_options, provider
from storage_backends.registry import ALIASES, unknown_backend

_NAMES = (*get_args(Kind), "cloud")
_S3 = ("key", "secret", "token", "endpoint_url", "region", "fsspec", "retry_seconds")
#: What each kind is told; so two jobs that differ in other words share one open backend.
_OPTIONS: Mapping[Kind, tuple[str, ...]] = {
    "local": ("workdir",),
    "nfs": ("workdir", "retry_seconds"),
    "gcs": ("bucket", "project", "placeholders", "endpoint", "retry_seconds"),
    "s3": ("bucket", *_S3),
    "gridftp": ("url", "streams", "retry_seconds"),
    "plgdata": ("endpoint", "upload_limit", "proxy_in_url", "retry_seconds"),
    "fsspec": ("url", *_S3),
}
_ROOTS: Mapping[Kind, str] = {
    "local": "workdir",
    "nfs": "workdir",
    "gcs": "bucket",
    "s3": "bucket",
    "gridftp": "url",
    "fsspec": "url",
}
#: Any of them says that AWS' tools are meant to work here.
_AWS_ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")


@dataclass(frozen=True, slots=True)
class Place:
    """A backend by its name in the registry, its options, and a folder below its root."""

    backend: str
    #: May hold credentials: never shown.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Checked: empty, or ends in ``/``.
    prefix: str = ""

    @property
    def root_url(self) -> str | None:
        """The URL of the backend's root, without a slash at its end; None where there is none."""
        if self.backend == "gcs":
            return f"gs://{self.options['bucket']}"
        return self.options.get("url")


@dataclass(frozen=True, slots=True)
class Defaults:
    """The executor's settings ``storage`` and ``storage_options``."""

    storage: str = "local"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def place(
    storage: object,
    options: Mapping[str, Any],
    prefix: object,
    *,
    defaults: Defaults,
    environ: Mapping[str, str],
    on_google: bool = False,
) -> Place:
    """The place of a job that names `storage`, `options` and `prefix`, or None of them.

    With `on_google`, a prefix alone is one in Cloud Storage, if the executor has no storage set
    (that is ``local`` without a ``workdir``); a bucket alone is one in the cloud anywhere. A
    ``local`` place without a ``workdir`` is below the job's launch directory. Raises UsageError and
    PathError; neither shows an option that may be secret.
    """
    base = _Words.read(defaults.storage, defaults.options, None)
    job = _Words.read(storage, options, prefix)
    if job.kind is None and base.kind == "local" and not base.options.get("workdir"):
        folder = on_google and job.prefix and not job.prefix.startswith("/")
        if job.bucket is not None or folder:
            job.kind = "cloud"
    kind = _decided(job.kind or base.kind or "local", (job, base), environ)
    shares = _decided(base.kind or "local", (base,), environ) == kind and _alike(kind, job, base)
    own = _own_options(kind, job)
    require_no_other_endpoint(kind, own, base.options if shares else {})
    merged = {**(_own_options(kind, base) if shares else {}), **own}
    start = base.start(kind) if shares and _ROOTS.get(kind) not in own else ""
    return _placed(kind, merged, start, job.folder(kind))


def default_place(defaults: Defaults, environ: Mapping[str, str]) -> Place | None:
    """The place of jobs that name none; None if every job has to name one.

    Raises UsageError.
    """
    try:
        return _default_place(defaults, environ)
    except PathError as exc:
        raise UsageError(f"the executor's storage or storage_options: {exc}") from exc


def _default_place(defaults: Defaults, environ: Mapping[str, str]) -> Place | None:
    base = _Words.read(defaults.storage, defaults.options, None)
    kind = _decided(base.kind or "local", (base,), environ)
    options = _own_options(kind, base)
    rooted = kind not in _ROOTS or options.get(_ROOTS[kind]) is not None
    if not rooted and not (kind in ("gcs", "s3") and base.folder(kind)):
        return None
    return _placed(kind, options, "", base.folder(kind))


@dataclass
class _Words:
    """What the job or the executor has said."""

    #: A Kind, ``cloud``, or None for nothing.
    kind: str | None
    location: Location | None
    options: Mapping[str, Any]
    prefix: str

    @classmethod
    def read(cls, storage: object, options: Mapping[str, Any], prefix: object) -> _Words:
        storage = _text(options.get("storage") if storage is None else storage, "storage")
        prefix = _either(prefix, options.get("prefix"))
        urls = [text for text in (storage, options.get("url"), prefix) if is_url(str(text))]
        if len(set(urls)) > 1:
            raise UsageError("storage, url and prefix are different URLs: give one of them")
        location = read_url(_text(urls[0], "url")) if urls else None
        named = storage if storage and not is_url(storage) else None
        kind = _named_kind(named, location)
        folder = "" if is_url(prefix) else prefix
        return cls(kind, location, options, folder)

    @property
    def bucket(self) -> object:
        return _first(self.options, "bucket", "s3_bucket")

    def folder(self, kind: Kind) -> str:
        """The prefix for a store of that kind; a path of the URL goes before it."""
        prefix = self.prefix
        if not prefix and kind in ("gcs", "s3"):
            prefix = _text(self.options.get("s3_prefix"), "s3_prefix")
        path = self.location.path if self.location else ""
        return f"{path}/{prefix}" if path and prefix else path or prefix

    def start(self, kind: Kind) -> str:
        """The executor's folder, in which those of jobs are; an absolute one is at the root."""
        folder = self.folder(kind)
        if folder.startswith("/") and kind in ("local", "nfs"):
            return ""  # it is the workdir
        return folder.lstrip("/") if kind in ("gridftp", "plgdata") else folder


def _named_kind(named: str | None, location: Location | None) -> str | None:
    """A Kind or ``cloud``; the name and the URL must mean the same."""
    kind = None if named is None else ALIASES.get(named, named)
    if kind is not None and kind not in _NAMES:
        raise unknown_backend(named or "")
    if location is None:
        return kind
    fits: set[str] = {location.kind, "fsspec"}
    if location.kind in ("gcs", "s3"):
        fits.add("cloud")
    if named == "gridftp" and location.root.startswith("ftp://"):
        return "gridftp"
    if kind is not None and kind not in fits:
        raise UsageError(f"storage {named!r} and a URL of {location.kind}: leave one of them out")
    return location.kind


def _decided(kind: str, words: tuple[_Words, ...], environ: Mapping[str, str]) -> Kind:
    """`kind`, where ``cloud`` is S3 or GCS by the first of `words` that says so."""
    if kind != "cloud":
        return kind  # type: ignore[return-value]  # a Kind, see _Words.kind
    for each in words:
        if each.kind in ("gcs", "s3"):
            return "s3" if each.kind == "s3" else "gcs"
        whose = provider(each.options)
        if whose is not None:
            return "s3" if whose == "aws" else "gcs"
    return "s3" if any(environ.get(name) for name in _AWS_ENVIRONMENT) else "gcs"


def _alike(kind: Kind, job: _Words, base: _Words) -> bool:
    """Whether the executor's options, credentials among them, are for what the job names too."""
    if kind == "s3":
        # Keys are not shown to another endpoint than the one that they are for.
        ours = _own_options(kind, base).get("endpoint_url")
        return all(each == ours for each in named_endpoints(_own_options(kind, job)))
    if kind == "fsspec" and job.location is not None:
        return base.location is not None and job.location.root == base.location.root
    return True


def _own_options(kind: Kind, words: _Words) -> dict[str, Any]:
    """The options that `words` hold for a store of that kind, under our names."""
    found = {
        key: words.options[key] for key in _OPTIONS[kind] if words.options.get(key) is not None
    }
    if kind == "s3":
        found = {**aws_options(words.options), **found}
    elif kind == "gcs":
        found = {**google_options(words.options), **found}
    if kind in ("gcs", "s3"):
        if words.location is not None:
            found["bucket"] = words.location.root
        elif words.bucket is not None:
            found["bucket"] = checked_bucket(words.bucket)
    elif "url" in _OPTIONS[kind]:
        found.pop("url", None)
        if words.location is not None:
            found["url"] = words.location.root
    elif kind in ("local", "nfs") and words.prefix.startswith("/"):
        found["workdir"] = words.prefix
    return found


def _placed(kind: Kind, options: dict[str, Any], start: str, folder: str) -> Place:
    if folder.startswith("/"):
        if kind in ("gcs", "s3", "fsspec"):
            raise UsageError(
                f"storage prefix {folder[:80]!r} is absolute: expected a folder in the store, "
                "as 'folder', 'bucket/folder' or a URL"
            )
        # For directories it has become the workdir; others have one tree, from the root.
        start, folder = "", "" if kind in ("local", "nfs") else folder.lstrip("/")
    prefix = "/".join(part for part in (_checked(start), _checked(folder)) if part)
    if kind not in ("gcs", "s3"):
        return Place(kind, options, prefix and f"{prefix}/")
    if options.get("bucket") is None:
        bucket, _, prefix = prefix.partition("/")
        if not bucket:
            raise UsageError(
                f"storage {kind!r}: neither the job nor the executor names a bucket: set bucket, "
                "or a storage_prefix such as bucket/folder"
            )
        options = {**options, "bucket": checked_bucket(bucket)}
    prefix = prefix and f"{prefix}/"
    if kind == "gcs":
        return Place("gcs", options, prefix)
    bucket = options.pop("bucket")
    return Place("fsspec", {**options, "url": f"s3://{bucket}"}, prefix)


def _checked(folder: str) -> str:
    # With a slash at its end if it has one: a second one is refused.
    return folder and checked_name(folder, "storage prefix").removesuffix("/")


def _text(value: object, what: str) -> str:
    """A text; empty for None. Raises UsageError."""
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{what} is a {type(value).__name__}: expected a text")
    return value or ""


def _either(prefix: object, option: object) -> str:
    one, other = _text(prefix, "storage prefix"), _text(option, "prefix")
    if one and other and one != other:
        raise UsageError("storage_prefix and the option prefix differ: give one of them")
    return one or other


def _first(options: Mapping[str, Any], *names: str) -> object:
    return next((options[name] for name in names if options.get(name) is not None), None)
