"""Hyperflow's ``cloud_storage``: provider settings by the names of Ruby's fog, as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from messaging.errors import UsageError

Provider = Literal["aws", "google"]

#: Fog's names, and ours for S3.
_AWS: Mapping[str, str] = {
    "aws_access_key_id": "key",
    "aws_secret_access_key": "secret",
    "aws_session_token": "token",
    "region": "region",
    "endpoint": "endpoint_url",
}
#: Fog's for Google that ask for other credentials than those that Google's library finds.
_GOOGLE_KEYS = ("google_storage_access_key_id", "google_json_key_location", "google_key_location")


def provider(options: Mapping[str, Any]) -> Provider | None:
    """Whose cloud the job's or executor's `options` mean; None if they do not say.

    Raises UsageError.
    """
    settings = _settings(options)
    named = settings.get("provider")
    if named is not None:
        if str(named).lower() not in ("aws", "google"):
            raise UsageError(f"cloud_storage has provider {named!r}: expected AWS or Google")
        return "aws" if str(named).lower() == "aws" else "google"
    keys = {"s3_bucket", *(name for name in _AWS if name.startswith("aws_")), "key", "secret"}
    return "aws" if any(options.get(key) or settings.get(key) for key in keys) else None


def aws_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The S3 options (``key``, ``endpoint_url``, ...) in fog's settings and names.

    Raises UsageError, which shows no value.
    """
    settings = _settings(options)
    found = {
        own: values[fog]
        for values in (settings, options)
        for fog, own in _AWS.items()
        if values.get(fog)
    }
    if settings.get("host") and "endpoint_url" not in found:
        port = f":{settings['port']}" if settings.get("port") else ""
        found["endpoint_url"] = f"{settings.get('scheme', 'https')}://{settings['host']}{port}"
    if settings.get("path_style"):
        found["fsspec"] = {"config_kwargs": {"s3": {"addressing_style": "path"}}}
    return found


def google_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The GCS options in fog's settings. Raises UsageError."""
    settings = _settings(options)
    if keys := [key for key in _GOOGLE_KEYS if settings.get(key)]:
        raise UsageError(
            f"cloud_storage has {keys[0]}: Google's credentials are those of the executor's "
            "machine (its service account, or GOOGLE_APPLICATION_CREDENTIALS); leave it out"
        )
    return {"project": settings["google_project"]} if settings.get("google_project") else {}


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    settings = options.get("cloud_storage") or {}
    if not isinstance(settings, Mapping):
        raise UsageError("cloud_storage must be provider settings by name: provider, region, ...")
    # Ruby's YAML files write symbols, ``:provider: AWS``.
    return {str(name).lstrip(":"): value for name, value in settings.items()}
