"""Settings: one frozen, validated object per daemon.

Sources: flags > metadata attributes of a VM > environment > YAML > what the VM is > defaults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from messaging.errors import UsageError
from messaging.names import Names

if TYPE_CHECKING:
    from messaging.pubsub import PubSub

S = TypeVar("S", bound="Settings")

#: `storage_options` may hold a store's credentials.
_SECRET_WORDS = ("password", "secret", "token", "key", "options")


class Settings(BaseModel):
    """Base of all settings. Frozen; an unknown field is an error that names it.

    A field's environment variable stands beside it:
    ``Field(json_schema_extra={"env": "THREADS"})``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def environment_names(cls) -> dict[str, str]:
        """Field name → environment variable, for the fields that have one."""
        names = {}
        for field, info in cls.model_fields.items():
            extra = info.json_schema_extra
            if isinstance(extra, dict) and isinstance(extra.get("env"), str):
                names[field] = str(extra["env"])
        return names

    def redacted(self) -> dict[str, Any]:
        """All values, for printing: those that look like secrets are replaced by ``***``."""
        redacted = _redact(self.model_dump(mode="json"))
        assert isinstance(redacted, dict)
        return redacted


def load(
    cls: type[S],
    *,
    flags: Mapping[str, Any] | None = None,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> S:
    """Read settings of class `cls`; raises UsageError naming the setting, the value and the remedy.

    `flags` holds fields by name (None: not given), `file` is YAML with the same names, `environ`
    the environment, `attributes` those of a VM's metadata (which others share: what is no field is
    ignored), `defaults` stand in for those of the fields. An empty variable or attribute counts as
    not set.
    """
    values: dict[str, Any] = {k: v for k, v in (defaults or {}).items() if k in cls.model_fields}
    origin: dict[str, str] = {field: f"this VM's {field}" for field in values}
    for field, value in (read_yaml(file) if file else {}).items():
        values[field], origin[field] = value, f"{file}: {field}"
    for field, variable in cls.environment_names().items():
        if (environ or {}).get(variable):
            values[field], origin[field] = (environ or {})[variable], f"environment {variable}"
    for field, text in (attributes or {}).items():
        if field in cls.model_fields and text.strip():
            _refuse_secret(field)
            values[field], origin[field] = text.strip(), f"metadata attribute {field}"
    for field, value in (flags or {}).items():
        if value is not None:
            values[field], origin[field] = value, f"--{field.replace('_', '-')}"
    try:
        return cls(**values)
    except ValidationError as exc:
        raise UsageError("; ".join(_problems(cls, exc, origin))) from exc


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file; raises UsageError when there is none."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"cannot read settings file {file}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        where = " ".join(str(exc).split())
        raise UsageError(f"settings file {file} is not YAML: {where}") from exc
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(
            f"settings file {file} must hold `name: value` lines, see examples/settings.yml"
        )
    return content


def _problems(cls: type[Settings], error: ValidationError, origin: Mapping[str, str]) -> list[str]:
    problems = []
    for item in error.errors():
        field = str(item["loc"][0]) if item["loc"] else ""
        where = origin.get(field, field)
        if item["type"] == "extra_forbidden":
            known = ", ".join(sorted(cls.model_fields))
            problems.append(f"{where} is no setting; the settings are: {known}")
        else:
            value = "***" if _is_secret(field) else repr(item["input"])
            if item["type"] == "string_pattern_mismatch":
                meaning = cls.model_fields[field].description
                problems.append(f"{where} is {value}, which is no such name; it means: {meaning}")
                continue
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{where} is {value}: {message[:1].lower()}{message[1:]}")
    return problems


def _refuse_secret(field: str) -> None:
    if _is_secret(field):
        raise UsageError(
            f"metadata attribute {field} is not taken: it may hold secrets, and everybody who sees "
            "the VM can read it; remove it, and set it in the settings file"
        )


def _redact(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "***" if _is_secret(str(k)) and v else _redact(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_redact(item) for item in value]
    return value


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)


class PubSubSettings(Settings):
    """Where Pub/Sub is; what every command needs."""

    project: str = Field(
        default="",
        description="Google Cloud project. Not needed with an emulator.",
        json_schema_extra={"env": "GOOGLE_CLOUD_PROJECT"},
    )
    emulator_host: str = Field(
        default="",
        description="HOST:PORT of Google's emulator or of `portfire broker`; "
        "empty: Google Pub/Sub with application-default credentials.",
        json_schema_extra={"env": "PUBSUB_EMULATOR_HOST"},
    )

    @field_validator("emulator_host")
    @classmethod
    def _host_and_port(cls, address: str) -> str:
        if address and not re.fullmatch(r"\S+:\d{1,5}", address):
            raise ValueError("must be HOST:PORT, such as localhost:8085")
        return address

    prefix: str = Field(
        default="portfire",
        pattern=r"^[A-Za-z][A-Za-z0-9_.~+%-]{2,60}$",
        description="First part of all topic and subscription names; "
        "installations with different prefixes do not see each other.",
        json_schema_extra={"env": "PORTFIRE_PREFIX"},
    )

    @field_validator("prefix")
    @classmethod
    def _not_google(cls, prefix: str) -> str:
        if prefix.lower().startswith("goog"):
            raise ValueError("Pub/Sub reserves names that begin with goog")
        return prefix

    @property
    def names(self) -> Names:
        """Names of this installation's topics and subscriptions."""
        return Names(self.prefix)

    def connect(self) -> PubSub:
        """A new connection; raises UsageError when nothing says where Pub/Sub is."""
        # Imported late: gRPC must not be loaded in a process that is going to fork.
        from messaging.pubsub import PubSub

        if not self.project and not self.emulator_host:
            raise UsageError(
                "no Pub/Sub to talk to: set GOOGLE_CLOUD_PROJECT, or start `portfire broker` and "
                "set PUBSUB_EMULATOR_HOST to the address that it prints"
            )
        return PubSub(self.project or "portfire-local", self.emulator_host or None)
