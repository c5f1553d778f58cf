"""What a DockerTask may say of its container, and how a wrong word is answered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.containers.parameters import byte_size, container_parameters
from messaging.errors import JobError


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 << 20), ("4g", 4 << 30), ("1.5GiB", 3 << 29), ("10kb", 10240), (7, 7), ("9", 9)],
)
def test_a_size_is_read_as_the_engine_reads_it(text: object, size: int) -> None:
    assert byte_size(text, "memory") == size


@given(st.text() | st.floats() | st.booleans() | st.none() | st.integers(max_value=0))
def test_a_size_is_positive_or_refused_with_its_name(value: object) -> None:
    try:
        size = byte_size(value, "memory")
    except JobError as exc:
        size, said = 1, str(exc)
    else:
        said = "memory is"
    assert size > 0
    assert said.startswith("memory is")


def test_what_is_not_named_is_the_default() -> None:
    wanted = container_parameters({})
    assert wanted.pull == "if-not-present"
    assert wanted.network is None
    assert wanted.capabilities == ()
    assert not wanted.reuse
    assert wanted.resources.memory is None


def test_all_parameters_are_read() -> None:
    wanted = container_parameters(
        {
            "environment": {"A": 1},
            "entrypoint": ["/bin/sh"],
            "cpus": 1.5,
            "memory": "1g",
            "retry_memory": ["2g", "4g"],
            "gpus": "all",
            "shm_size": "64m",
            "user": 1000,
            "capabilities": ["cap_net_bind_service"],
            "mounts": [{"source": "/data", "target": "/data", "read_only": False}],
            "pull": "never",
            "stop_grace": 0,
        }
    )
    assert wanted.environment == {"A": "1"}
    assert wanted.resources.memory == 1 << 30
    assert wanted.retry_memory == (2 << 30, 4 << 30)
    assert wanted.resources.gpus == -1
    assert wanted.user == "1000"
    assert wanted.capabilities == ("NET_BIND_SERVICE",)
    assert not wanted.mounts[0].read_only
    assert wanted.stop_grace == 0


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("environment", {"A=B": "1"}),
        ("environment", ["A=1"]),
        ("environment", {"A": None}),
        ("entrypoint", 5),
        ("working_dir", "relative"),
        ("cpus", 0),
        ("cpus", "two"),
        ("memory", "4 parsecs"),
        ("memory", "1k"),
        ("shm_size", True),
        ("gpus", "some"),
        ("gpus", -2),
        ("pids", 0),
        ("network", "host"),
        ("network", "container:abc"),
        ("capabilities", ["; rm"]),
        ("capabilities", "SYS_ADMIN"),
        ("mounts", [{"source": "data", "target": "/x"}]),
        ("mounts", [{"source": "/data"}]),
        ("mounts", [{"source": "/data", "target": "/x", "privileged": True}]),
        ("labels", {"portfire.job": "mine"}),
        ("pull", "sometimes"),
        ("stop_grace", -1),
        ("reuse", "yes"),
        ("user", ""),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(parameter: str, value: Any) -> None:
    with pytest.raises(JobError) as caught:
        container_parameters({parameter: value})
    assert str(caught.value).startswith(parameter)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sizes", [["2g", "1g"], ["1g"], ["2g", "2g"], ["512m"]])
def test_memory_of_later_tries_must_grow(sizes: list[str]) -> None:
    with pytest.raises(JobError, match="sizes that grow"):
        container_parameters({"memory": "1g", "retry_memory": sizes})


def test_later_memory_needs_a_first_limit() -> None:
    with pytest.raises(JobError, match="needs memory"):
        container_parameters({"retry_memory": ["1g"]})
