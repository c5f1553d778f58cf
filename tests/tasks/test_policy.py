"""What an executor's owner lets jobs do."""

from __future__ import annotations

from pathlib import Path

import pytest

from executor.containers.parameters import container_parameters
from executor.policy import Policy, PolicyError

IMAGE = "europe-docker.pkg.dev/lab/models/cell:3"


def test_an_empty_policy_allows_images_and_firetasks() -> None:
    Policy().check_firetasks(["DockerTask", "{{some.module.Task}}"])
    Policy().check_container(IMAGE, container_parameters({}))


def test_an_image_must_match_a_pattern_as_a_whole() -> None:
    policy = Policy(allowed_images=("europe-docker.pkg.dev/lab/*", "busybox:1.36"))
    policy.check_container(IMAGE, container_parameters({}))
    for image in ("busybox", "evil/europe-docker.pkg.dev/lab/x", "busybox:1.36.1"):
        with pytest.raises(PolicyError, match="allowed_images"):
            policy.check_container(image, container_parameters({}))


def test_a_firetask_that_is_not_allowed_is_named() -> None:
    policy = Policy(allowed_firetasks=("DockerTask", "{{lab.*}}"))
    policy.check_firetasks(["DockerTask", "{{lab.tasks.Fit}}"])
    with pytest.raises(PolicyError, match=r"'ScriptTask'.*allowed_firetasks"):
        policy.check_firetasks(["DockerTask", "ScriptTask"])


def test_mounts_are_refused_unless_allowed(tmp_path: Path) -> None:
    allowed, other = tmp_path / "data", tmp_path / "other"
    for directory in (allowed / "sub", other):
        directory.mkdir(parents=True)
    (allowed / "link").symlink_to(other)
    policy = Policy(allowed_mounts=(str(allowed),))

    def check(source: Path | str) -> None:
        mounts = [{"source": str(source), "target": "/x"}]
        policy.check_container(IMAGE, container_parameters({"mounts": mounts}))

    check(allowed)
    check(allowed / "sub")
    for refused in (other, allowed / "link", f"{allowed}/../other", tmp_path, f"{allowed}x"):
        with pytest.raises(PolicyError):
            check(refused)
    with pytest.raises(PolicyError, match="no such path"):
        check(allowed / "missing")


@pytest.mark.parametrize("source", ["/", "/var/run", "/run/docker.sock", "/var/run/docker.sock"])
def test_the_engines_socket_is_never_given_away(source: str) -> None:
    mounts = [{"source": source, "target": "/x"}]
    with pytest.raises(PolicyError, match="give away the engine"):
        Policy(allowed_mounts=("/",)).check_container(
            IMAGE, container_parameters({"mounts": mounts})
        )


def test_limits_are_kept_also_by_later_tries() -> None:
    policy = Policy(max_memory=2 << 30, max_cpus=4)
    policy.check_container(IMAGE, container_parameters({"memory": "2g", "cpus": 4}))
    for wanted in ({"memory": "1g", "retry_memory": ["4g"]}, {"cpus": 5}):
        with pytest.raises(PolicyError, match="max_"):
            policy.check_container(IMAGE, container_parameters(wanted))


def test_capabilities_are_dropped_unless_allowed() -> None:
    wanted = container_parameters({"capabilities": ["SYS_PTRACE"]})
    Policy(allowed_capabilities=("SYS_PTRACE",)).check_container(IMAGE, wanted)
    with pytest.raises(PolicyError, match="SYS_PTRACE"):
        Policy().check_container(IMAGE, wanted)
