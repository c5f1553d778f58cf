"""Workflows that show one documented behaviour of FireWorks each; all of them run together.

A scenario is a function from the directory of the run to a Workflow. All its Fireworks' names begin
with the scenario's, which is also the Workflow's name; the states are what must come of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireworks import Firework, ScriptTask, Tracker, Workflow
from fireworks.features.background_task import BackgroundTask
from fireworks.user_objects.dupefinders.dupefinder_exact import DupeFinderExact

from tests.fidelity import tasks


@dataclass(frozen=True)
class Scenario:
    """One behaviour: what to load, and the states that must come of it."""

    name: str
    build: Callable[[Path], Workflow]
    #: Of each Firework, by its name within the scenario.
    states: dict[str, str]


SCENARIOS: list[Scenario] = []

Build = Callable[["Make", Path], Sequence[Firework]]


class Make:
    """Makes the Fireworks of one scenario."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario

    def __call__(
        self, name: str, *tasks_: Any, parents: Sequence[Firework] = (), **spec: Any
    ) -> Firework:
        return Firework(
            list(tasks_) or [ScriptTask.from_str("true")],
            spec=spec,
            name=f"{self.scenario}.{name}",
            parents=list(parents),
        )


def scenario(**states: str) -> Callable[[Build], Build]:
    """Register a scenario with its outcome."""

    def register(build: Build) -> Build:
        name = build.__name__

        def workflow(directory: Path) -> Workflow:
            return Workflow(list(build(Make(name), directory)), name=name)

        SCENARIOS.append(Scenario(name, workflow, states))
        return build

    return register


@scenario(a="COMPLETED")
def multiple_tasks(fw: Make, _: Path) -> Sequence[Firework]:
    first = tasks.Act(stored_data={"one": 1, "both": 1}, update_spec={"told": "by the first"})
    second = tasks.Act(stored_data={"two": 2, "both": 2}, mod_spec=[{"_push": {"list": 3}}])
    third = tasks.Remember(keys=["told", "list", "given"])
    return [fw("a", first, second, third, given={"deep": [1, 2, None]})]


@scenario(a="COMPLETED", b="COMPLETED", c="COMPLETED", d="COMPLETED")
def parents_and_a_join(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", tasks.Act(update_spec={"from_a": "a"}))
    b = fw("b", tasks.Act(mod_spec=[{"_push": {"unordered": "b"}}]), parents=[a])
    c = fw("c", tasks.Act(mod_spec=[{"_push": {"unordered": "c"}}]), parents=[a])
    d = fw("d", tasks.Remember(keys=["from_a", "unordered"]), parents=[b, c])
    return [a, b, c, d]


@scenario(a="COMPLETED", b="COMPLETED", c="COMPLETED")
def update_spec_and_mod_spec(fw: Make, _: Path) -> Sequence[Firework]:
    mods = [{"_set": {"x->y": 1}}, {"_inc": {"n": 4}}, {"_push_all": {"list": [1, 2]}}]
    a = fw("a", tasks.Act(update_spec={"told": [1, {"two": 2}]}, mod_spec=mods))
    b = fw("b", tasks.Remember(keys=["told", "x", "n", "list"]), parents=[a], n=1)
    c = fw("c", tasks.Remember(keys=["told", "x", "n"]), parents=[b])
    return [a, b, c]


@scenario(a="COMPLETED", b="COMPLETED", c="COMPLETED")
def propagate(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", tasks.Act(update_spec={"told": "all"}, propagate=True))
    b = fw("b", tasks.Remember(keys=["told"]), parents=[a])
    c = fw("c", tasks.Remember(keys=["told"]), parents=[b])
    return [a, b, c]


@scenario(a="COMPLETED", b="COMPLETED", added="COMPLETED")
def additions(fw: Make, _: Path) -> Sequence[Firework]:
    added = fw("added", tasks.Remember(keys=["told"]))
    act = tasks.Act(additions=[added], update_spec={"told": "the addition too"})
    a = fw("a", act, tasks.Act(stored_data={"skipped": False}))
    return [a, fw("b", parents=[a])]


@scenario(a="COMPLETED", b="COMPLETED", first="COMPLETED", second="COMPLETED", lone="COMPLETED")
def a_workflow_as_addition(fw: Make, _: Path) -> Sequence[Firework]:
    first = fw("first", tasks.Act(update_spec={"from_first": 1}))
    second = fw("second", tasks.Remember(keys=["from_first", "told"]), parents=[first])
    lone = fw("lone", tasks.Remember(keys=["told"]))
    act = tasks.Act(additions=[Workflow([first, second]), lone], update_spec={"told": 1})
    a = fw("a", act)
    return [a, fw("b", parents=[a])]


@scenario(a="COMPLETED", b="COMPLETED", detour="COMPLETED", deeper="COMPLETED")
def detours(fw: Make, _: Path) -> Sequence[Firework]:
    deeper = fw("deeper", tasks.Act(update_spec={"from_deeper": True}))
    detour = fw("detour", tasks.Act(detours=[deeper], update_spec={"from_detour": True}))
    a = fw("a", tasks.Act(detours=[detour], update_spec={"from_a": True}))
    b = fw("b", tasks.Remember(keys=["from_a", "from_detour", "from_deeper"]), parents=[a])
    return [a, b]


@scenario(a="COMPLETED", b="DEFUSED", c="DEFUSED", d="WAITING")
def defuse_children(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", tasks.Act(defuse_children=True, stored_data={"why": "no need"}))
    b, c = fw("b", parents=[a]), fw("c", parents=[a])
    return [a, b, c, fw("d", parents=[b, c])]


@scenario(a="COMPLETED", b="DEFUSED", c="DEFUSED")
def defuse_workflow(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", tasks.Act(defuse_workflow=True))
    b = fw("b", parents=[a])
    return [a, b, fw("c", parents=[b])]


@scenario(a="COMPLETED", b="COMPLETED")
def exit_skips_the_remaining_tasks(fw: Make, _: Path) -> Sequence[Firework]:
    act = tasks.Act(exit=True, stored_data={"stored": True}, update_spec={"told": 1})
    a = fw("a", act, tasks.Fail(how="raise"))
    return [a, fw("b", tasks.Remember(keys=["told"]), parents=[a])]


@scenario(a="COMPLETED", b="COMPLETED")
def an_action_from_a_file(fw: Make, _: Path) -> Sequence[Firework]:
    write = ScriptTask.from_str(
        """cat >FWAction.json <<'END'
{"stored_data": {"by": "a script"}, "exit": false, "update_spec": {"told": "by a script"},
 "mod_spec": [], "additions": [], "detours": [], "defuse_children": false}
END"""
    )
    a = fw("a", write)
    return [a, fw("b", tasks.Remember(keys=["told"]), parents=[a])]


@scenario(a="COMPLETED", b="COMPLETED")
def values_that_are_not_json(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", tasks.Odd())
    return [a, fw("b", tasks.Remember(keys=["moment", "nested"]), parents=[a])]


@scenario(a="FIZZLED", b="WAITING", c="WAITING")
def a_failing_task(fw: Make, _: Path) -> Sequence[Firework]:
    before = tasks.Act(stored_data={"before": True}, update_spec={"told": 1})
    a = fw("a", before, tasks.Fail(how="raise"), tasks.Act(stored_data={"after": True}))
    b = fw("b", parents=[a])
    return [a, b, fw("c", parents=[b])]


@scenario(a="FIZZLED")
def an_exception_with_details(fw: Make, _: Path) -> Sequence[Firework]:
    return [fw("a", tasks.Fail(how="details"))]


@scenario(a="FIZZLED")
def a_task_that_calls_exit(fw: Make, _: Path) -> Sequence[Firework]:
    return [fw("a", tasks.Fail(how="exit"))]


@scenario(a="FIZZLED")
def a_task_that_returns_no_action(fw: Make, _: Path) -> Sequence[Firework]:
    return [fw("a", tasks.Fail(how="no action"))]


@scenario(a="FIZZLED", b="WAITING")
def an_action_with_keys_that_are_not_text(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", tasks.Fail(how="key"))
    return [a, fw("b", parents=[a])]


@scenario(a="FIZZLED", b="WAITING")
def an_action_with_a_number_over_64_bits(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", tasks.Fail(how="number"))
    return [a, fw("b", parents=[a])]


@scenario(a="FIZZLED", b="COMPLETED", c="DEFUSED")
def bad_return_codes_of_scripts(fw: Make, _: Path) -> Sequence[Firework]:
    failing = ScriptTask({"script": ["echo out; exit 3"], "store_stdout": True})
    defusing = ScriptTask({"script": ["exit 4"], "defuse_bad_rc": True})
    a, b = fw("a", failing), fw("b", defusing)
    return [a, b, fw("c", parents=[b])]


@scenario(a="FIZZLED", b="COMPLETED", c="COMPLETED", d="WAITING")
def allow_fizzled_parents(fw: Make, _: Path) -> Sequence[Firework]:
    a, b = fw("a", tasks.Fail(how="raise")), fw("b", tasks.Act(update_spec={"from_b": 1}))
    c = fw("c", tasks.Remember(keys=["from_b"]), parents=[a, b], _allow_fizzled_parents=True)
    return [a, b, c, fw("d", parents=[a, b])]


@scenario(a="COMPLETED", b="COMPLETED", c="COMPLETED")
def launch_dir(fw: Make, directory: Path) -> Sequence[Firework]:
    place = tasks.RememberPlace()
    a = fw("a", place, _launch_dir=str(directory / "chosen" / "deep"))
    b = fw("b", place, _launch_dir=f"{directory}/$CHOSEN")
    return [a, b, fw("c", place)]


@scenario(a="COMPLETED", b="COMPLETED", c="COMPLETED")
def pass_job_info(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", _pass_job_info=True)
    b = fw("b", tasks.Remember(keys=["_job_info"]), parents=[a], _pass_job_info=True)
    return [a, b, fw("c", tasks.Remember(keys=["_job_info"]), parents=[b])]


@scenario(a="COMPLETED", b="COMPLETED", c="COMPLETED")
def files_in_and_files_out(fw: Make, _: Path) -> Sequence[Firework]:
    outs = {"one": "one.txt", "many": "part-*.txt", "none": "nothing.*"}
    write = ScriptTask.from_str("echo 1 >one.txt; echo a >part-a.txt; echo b >part-b.txt")
    a = fw("a", write, _files_out=outs)
    ins = {"one": "first.txt", "many": "second.txt", "none": "third.txt"}
    b = fw(
        "b",
        tasks.RememberFile(file="first.txt"),
        tasks.RememberFile(file="second.txt"),
        parents=[a],
        _files_in=ins,
        _files_out={"one": "first.txt"},
    )
    c = fw("c", tasks.RememberFile(file="again.txt"), parents=[b], _files_in={"one": "again.txt"})
    return [a, b, c]


@scenario(a="COMPLETED", b="FIZZLED")
def trackers(fw: Make, _: Path) -> Sequence[Firework]:
    tracked = [Tracker("out.txt", nlines=2), Tracker("never.txt")]
    write = ScriptTask.from_str("printf '1\\n2\\n3\\n' >out.txt")
    a = fw("a", write, _trackers=tracked)
    return [a, fw("b", write, tasks.Fail(how="raise"), _trackers=tracked)]


@scenario(a="COMPLETED", b="COMPLETED")
def background_tasks(fw: Make, directory: Path) -> Sequence[Firework]:
    log = str(directory / "background.log")
    background = BackgroundTask(
        [tasks.Append(line="in the background")], num_launches=1, sleep_time=0, run_on_finish=True
    )
    a = fw(
        "a", tasks.WaitForLine(), tasks.Append(line="a"), log=log, _background_tasks=[background]
    )
    return [a, fw("b", tasks.Append(line="b"), tasks.RememberFile(file=log), parents=[a], log=log)]


@scenario(a="COMPLETED", b="COMPLETED")
def add_launchpad_and_fw_id(fw: Make, _: Path) -> Sequence[Firework]:
    a = fw("a", tasks.RememberSelf(), _add_launchpad_and_fw_id=True)
    return [a, fw("b", tasks.RememberSelf(), _add_fworker=True)]


@scenario(a="COMPLETED", between="COMPLETED", b="COMPLETED", c="COMPLETED")
def dupefinder(fw: Make, _: Path) -> Sequence[Firework]:
    act = tasks.Act(stored_data={"ran": True}, update_spec={"told": 1})
    same = {"_dupefinder": DupeFinderExact(), "same": "dupefinder scenario"}
    a = fw("a", act, **same)
    between = fw("between", parents=[a])
    b = fw("b", act, parents=[between], **same)
    return [a, between, b, fw("c", tasks.Remember(keys=["told"]), parents=[b])]


@scenario(a="COMPLETED", b="COMPLETED", c="COMPLETED", d="COMPLETED", e="COMPLETED")
def append_workflows(fw: Make, _: Path) -> Sequence[Firework]:
    root = fw("d", tasks.Remember(keys=["told"]))
    append = {"workflow": Workflow([root, fw("e", parents=[root])]), "detour": True, "parents": []}
    a = fw("a", tasks.Act(append_wfs=[append], update_spec={"told": 1}))
    b = fw("b", parents=[a])
    return [a, b, fw("c", parents=[b])]
