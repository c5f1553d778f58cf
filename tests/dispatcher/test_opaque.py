"""Documents pass through the dispatcher unchanged, whether or not their classes can be loaded."""

from __future__ import annotations

from typing import Any

from fireworks import Firework, PyTask, ScriptTask, TemplateWriterTask
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.opaque import Opaque, opaque

_scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8)
_keys = st.text("abcdef_", min_size=1, max_size=6).filter(lambda key: key != "_fw_name")
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)
_unknown = st.builds(
    lambda name, rest: {**rest, "_fw_name": name},
    st.sampled_from(["{{no.such.module.Task}}", "NoSuchTask", ""]),
    st.dictionaries(_keys, _values, max_size=3),
)
_known = st.one_of(
    st.builds(lambda args: PyTask(func="builtins.sum", args=args), st.lists(_scalars, max_size=2)),
    st.builds(lambda text: ScriptTask.from_str(text), st.text(max_size=8)),
    st.builds(lambda ctx: TemplateWriterTask(context=ctx), st.dictionaries(_keys, _scalars)),
)


def _document(tasks: list[Any], spec: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = Firework(PyTask(func="time.sleep"), name="it", fw_id=7).to_db_dict()
    document["spec"] = {**spec, "_tasks": tasks}
    return document


@given(st.lists(_known, min_size=1, max_size=3), st.dictionaries(_keys, _values, max_size=3))
def test_known_tasks_round_trip_as_fireworks_own(tasks: list[Any], spec: dict[str, Any]) -> None:
    document = _document([task.to_dict() for task in tasks], spec)
    theirs = Firework.from_dict(document).to_db_dict()
    ours = Firework.from_dict(opaque(document)).to_db_dict()
    assert _without_times(ours) == _without_times(theirs)


@given(st.lists(_unknown, min_size=1, max_size=3), st.dictionaries(_keys, _values | _unknown))
def test_unknown_objects_are_kept_as_they_are(
    tasks: list[dict[str, Any]], spec: dict[str, Any]
) -> None:
    document = _document(tasks, spec)
    kept = Firework.from_dict(opaque(document)).to_db_dict()
    assert kept["spec"] == document["spec"]


@given(_values)
def test_plain_values_are_copied(value: Any) -> None:
    assert opaque(value) == value


def test_an_opaque_object_answers_like_a_task() -> None:
    task = opaque({"_fw_name": "PyTask", "func": "f"})
    assert isinstance(task, Opaque)
    assert task.get("func") == "f"
    assert task.get("args", ()) == ()


def _without_times(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "updated_on"}
