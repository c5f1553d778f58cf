"""The executor's settings of containers and of what jobs may do."""

from __future__ import annotations

from typing import Any

import pytest

from executor.policy import Policy
from executor.settings import ExecutorSettings
from messaging.errors import UsageError
from messaging.settings import load


def test_without_settings_jobs_may_do_what_harms_nobody_else() -> None:
    settings = load(ExecutorSettings, environ={})
    assert settings.policy == Policy()
    assert settings.stop_grace == 10.0


def test_names_come_from_the_environment_with_commas_between() -> None:
    environ = {
        "PORTFIRE_ALLOWED_IMAGES": "busybox:*, europe-docker.pkg.dev/my-project/*",
        "PORTFIRE_ALLOWED_MOUNTS": "/data",
        "PORTFIRE_ALLOWED_CAPABILITIES": "cap_sys_ptrace,NET_RAW",
        "PORTFIRE_MAX_MEMORY": "1.5g",
        "PORTFIRE_MAX_CPUS": "2",
    }
    assert load(ExecutorSettings, environ=environ).policy == Policy(
        allowed_images=("busybox:*", "europe-docker.pkg.dev/my-project/*"),
        allowed_mounts=("/data",),
        allowed_capabilities=("SYS_PTRACE", "NET_RAW"),
        max_memory=3 << 29,
        max_cpus=2.0,
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_memory", "lots", "max_memory is 'lots': must be a size such as 512m or 8g"),
        ("max_memory", "0", "must be a size"),
        ("max_cpus", "-1", "greater than or equal to 0"),
        ("stop_grace", "soon", "stop-grace is 'soon'"),
        ("allowed_mounts", "/a,b", "must be absolute paths, which 'b' is not"),
        ("allowed_images", {"a": 1}, "allowed-images is {'a': 1}"),
        ("container_network", "host", "must be bridge, none, or a network"),
        ("container_network", "container:other", "must be bridge, none, or a network"),
    ],
)
def test_a_wrong_setting_is_one_line(name: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(ExecutorSettings, flags={name: value}, environ={})
    assert "\n" not in str(caught.value)
    assert said in str(caught.value).replace("max-memory", "max_memory")
