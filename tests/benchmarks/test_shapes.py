"""The shapes that the benchmarks time."""

from __future__ import annotations

import pytest

from benchmarks.shapes import LAYERS, SHAPES, graph, workflows


def test_a_fan_has_a_root_and_a_join_besides() -> None:
    assert graph("fan", 3) == ((), (0,), (0,), (0,), (1, 2, 3))


def test_each_task_of_a_layer_has_three_parents_in_the_layer_above() -> None:
    tasks = graph("layers", 100)
    assert len(tasks) == 100
    width = 100 // LAYERS
    assert tasks[:width] == ((),) * width
    for number, parents in enumerate(tasks[width:], width):
        assert len(parents) == 3
        assert {parent // width for parent in parents} == {number // width - 1}


@pytest.mark.parametrize("jobs", [1, 7, 15, 31])
@pytest.mark.parametrize("shape", SHAPES)
def test_parents_come_before_their_children(shape: str, jobs: int) -> None:
    for number, parents in enumerate(graph(shape, jobs)):
        assert all(0 <= parent < number for parent in parents)


@pytest.mark.parametrize("shape", SHAPES)
def test_workflows_have_the_links_of_the_graph(shape: str) -> None:
    made = workflows(shape, 20)
    assert len(made) == (20 if shape == "bag" else 1)
    tasks = graph(shape, 20)
    assert sum(len(workflow.fws) for workflow in made) == len(tasks)
    if shape != "bag":
        numbers = {fw.fw_id: number for number, fw in enumerate(made[0].fws)}
        links = {
            (numbers[parent], numbers[child])
            for parent, children in made[0].links.items()
            for child in children
        }
        assert links == {
            (parent, number) for number, parents in enumerate(tasks) for parent in parents
        }


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="no shape 'star'"):
        graph("star", 3)
