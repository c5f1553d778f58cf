"""Program and arguments of a container, put together as the engine does."""

from __future__ import annotations

from typing import Any

import docker
import pytest

from executor.containers.run import run_container
from executor.containers.spec import ContainerSpec
from executor.images.defaults import ImageDefaults
from messaging.errors import JobError

_IMAGE = ImageDefaults(entrypoint=("enter",), command=("by", "default"), working_dir="/w")


def spec(**settings: Any) -> ContainerSpec:
    defaults = {"image": "i", "command": (), "labels": {}, "user": "0:0"}
    return ContainerSpec(**{**defaults, "timeout": 60.0, "stop_grace": 5.0, **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "enter by default"),
        ({"command": ["a"]}, "enter a"),
        ({"command": "a 'b c'"}, "enter a b c"),
        ({"entrypoint": ["other"]}, "other"),
        ({"entrypoint": "other x", "command": ["a"]}, "other x a"),
        ({"entrypoint": [], "command": ["a"]}, "a"),
        ({"entrypoint": [""], "command": ["a"]}, "a"),
    ],
)
def test_the_tasks_words_go_over_the_images(settings: dict[str, Any], words: str) -> None:
    assert " ".join(_IMAGE.words(spec(**settings))) == words


def test_an_image_without_a_command_needs_one() -> None:
    with pytest.raises(JobError, match="no command of its own"):
        ImageDefaults().words(spec())


@pytest.mark.parametrize(
    "settings",
    [{"command": ["a"]}, {}, {"entrypoint": ["echo", "own"]}, {"entrypoint": [], "command": "pwd"}],
)
def test_the_engine_does_the_same(
    client: docker.APIClient, image_id: str, tmp_path: Any, settings: dict[str, Any]
) -> None:
    made = client.create_container(image_id, ["never"])
    changes = ['ENTRYPOINT ["echo","image"]', 'CMD ["by","default"]', "WORKDIR /w"]
    image = client.commit(made["Id"], changes=changes)["Id"]
    client.remove_container(made["Id"])
    try:
        wanted = spec(image=image, **settings)
        run_container(client, wanted, tmp_path / "engines")
        defaults = ImageDefaults.of(client, image)
        run_container(
            client,
            spec(image=image, entrypoint=[""], command=defaults.words(wanted)),
            tmp_path / "ours",
        )
        assert (tmp_path / "engines").read_text() == (tmp_path / "ours").read_text() != ""
        assert defaults.directory(wanted) == "/w"
    finally:
        client.remove_image(image)
