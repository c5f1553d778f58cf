"""``-o KEY=VALUE``: Borealis' options, which were those of `gcloud compute instances create`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from messaging.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZES = {"": 1, "GB": 1, "TB": 1024}


def parse(texts: Iterable[str]) -> dict[str, str]:
    """``KEY=VALUE`` or ``KEY`` each; a value may hold ``=`` and ``,``. Raises UsageError."""
    options = {}
    for text in texts:
        key, _, value = text.partition("=")
        options[key.strip().removeprefix("--")] = value.strip()
    return options


def template_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a VmTemplate (and ``project``, ``zone``) that these options mean.

    Raises UsageError naming an option that there is not, or a value that it cannot have.
    """
    fields: dict[str, Any] = {}
    custom: dict[str, str] = {}
    for key, given in options.items():
        value = "" if given is None else str(given)
        if key in ("custom-cpu", "custom-memory"):
            custom[key] = value
        elif key in _OPTIONS:
            name, read = _OPTIONS[key]
            fields[name] = read(key, value)
            fields.pop(_ONLY_ONE, None)
        else:
            known = ", ".join(sorted([*_OPTIONS, "custom-cpu", "custom-memory"]))
            raise UsageError(f"-o {key}: there is no such option; there are: {known}")
    if custom:
        fields["machine_types"] = (_custom(custom),)
    return fields


def seconds(key: str, text: str) -> int:
    """``90s``, ``8h``, ``1d12h``; a number alone is seconds."""
    if text.isdigit():
        return int(text)
    parts = re.findall(r"(\d+)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{key} is {text!r}: a time such as 90m, 8h or 1d12h")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def gigabytes(key: str, text: str) -> int:
    """``50``, ``50GB``, ``1TB``."""
    match = re.fullmatch(r"(\d+)(GB|TB|)", text.upper())
    if match is None:
        raise UsageError(f"{key} is {text!r}: a size such as 50GB")
    return int(match[1]) * _SIZES[match[2]]


def names(_key: str, text: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def pairs(key: str, text: str) -> dict[str, str]:
    """``K=V`` with commas between."""
    found = {}
    for part in names(key, text):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"{key} is {text!r}: KEY=VALUE with commas between")
        found[name] = value
    return found


def accelerator(key: str, text: str) -> tuple[str, int]:
    """``type=nvidia-tesla-t4,count=1``."""
    parts = pairs(key, text)
    if set(parts) - {"type", "count"} or not parts.get("type"):
        raise UsageError(f"{key} is {text!r}: such as type=nvidia-tesla-t4,count=1")
    count = parts.get("count", "1")
    if not count.isdigit() or int(count) < 1:
        raise UsageError(f"{key} has count {count!r}: 1 or more")
    return parts["type"], int(count)


def _text(key: str, text: str) -> str:
    if not text:
        raise UsageError(f"-o {key} needs a value: -o {key}=VALUE")
    return text


def _off(key: str, text: str) -> bool:
    if text:
        raise UsageError(f"-o {key} has no value")
    return False


def _on(key: str, text: str) -> bool:
    return not _off(key, text)


def _address(key: str, text: str) -> bool:
    if text != "no-address":
        raise UsageError(f"-o {key} is {text!r}: only no-address is known")
    return False


def _is_spot(key: str, text: str) -> bool:
    if text.upper() not in ("SPOT", "STANDARD"):
        raise UsageError(f"-o {key} is {text!r}: SPOT or STANDARD")
    return text.upper() == "SPOT"


def _deletes(key: str, text: str) -> str:
    if text.upper() != "DELETE":
        raise UsageError(f"-o {key} is {text!r}: VMs of a fleet are always deleted (DELETE)")
    return "DELETE"


def _policy(key: str, text: str) -> str:
    if text.upper() not in ("MIGRATE", "TERMINATE"):
        raise UsageError(f"-o {key} is {text!r}: MIGRATE or TERMINATE")
    return text.upper()


def _custom(options: Mapping[str, str]) -> str:
    """gcloud's own name for such a machine: ``custom-CPUS-MEGABYTES``."""
    cpus, memory = options.get("custom-cpu", ""), options.get("custom-memory", "")
    match = re.fullmatch(r"(\d+)(MB|GB|)", memory.upper())
    if not cpus.isdigit() or match is None:
        raise UsageError("a custom machine has both custom-cpu=2 and custom-memory=8GB")
    return f"custom-{cpus}-{int(match[1]) * (1 if match[2] == 'MB' else 1024)}"


#: What has a single value, which is checked and no field.
_ONLY_ONE = ""
_Reader = Callable[[str, str], Any]
_OPTIONS: dict[str, tuple[str, _Reader]] = {
    "accelerator": ("accelerator", accelerator),
    "boot-disk-size": ("disk_gb", gigabytes),
    "boot-disk-type": ("disk_type", _text),
    "description": ("description", _text),
    "image-family": ("image_family", _text),
    "image-project": ("image_project", _text),
    "instance-termination-action": (_ONLY_ONE, _deletes),
    "labels": ("labels", pairs),
    "machine-type": ("machine_types", names),
    "maintenance-policy": ("maintenance_policy", _policy),
    "max-run-duration": ("max_run_seconds", seconds),
    "min-cpu-platform": ("min_cpu_platform", _text),
    "network": ("network", _text),
    "network-interface": ("external_address", _address),
    "network-tier": ("network_tier", _text),
    "no-address": ("external_address", _off),
    "preemptible": ("spot", _on),
    "project": ("project", _text),
    "provisioning-model": ("spot", _is_spot),
    "scopes": ("scopes", names),
    "service-account": ("service_account", _text),
    "subnet": ("subnet", _text),
    "tags": ("network_tags", names),
    "zone": ("zone", _text),
}
