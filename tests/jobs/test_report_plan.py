"""Who is who in a folder of runs, and which measurements a report of them has."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from landscape_cli.errors import CheckpointError
from landscape_cli.jobs.report_cast import BESIDE_RUNS, Cast, cast_of, state_of
from landscape_cli.jobs.report_plan import plan_report
from landscape_cli.jobs.report_step import Plan, Settings
from landscape_cli.jobs.report_weights import MORE_POINTS, MOST_JOINED, MOST_KERNELS, POINTS, best_interval
from landscape_cli.store.runs import CHECKPOINTS, Run, step_name


def made(path: Path, *, steps: tuple[int, ...] = (0, 4, 8), lineage: dict[str, Any] | None = None, network: str = "mlp",
         data: str = "digits", lr: float = 0.1, order: int = 0, status: str = "finished") -> Run:  # fmt: skip
    """A run's description and the names of its checkpoints: what a plan looks at."""
    folder = path / CHECKPOINTS
    folder.mkdir(parents=True)
    for step in steps:
        (folder / step_name(step)).write_bytes(b"")
    spec: dict[str, Any] = {"curve": {}} if network == "curve" else {"name": network, "options": {}}
    config = {"network": spec, "protocol": {"lr": lr}, "seeds": {"order": order}}
    return Run.write(path, {
        "kind": "run", "status": status, "lineage": lineage, "steps_per_epoch": 4, "config": config,
        "data": {"name": data, "fingerprint": {"test": data}, "test_samples": 100, "train_samples": 300},
    })  # fmt: skip


def theirs_file(folder: Path, step: int) -> None:
    save_file({"w": np.zeros(2, np.float32)}, folder / f"model-{step}.safetensors")


def from_parent(step: int = 4, **more: Any) -> dict[str, Any]:
    return {"parent": "../parent", "step": step, "hash": f"hash-{step}", **more}


def names(runs: Any) -> list[str]:
    return [run.name for run in runs]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A parent with two and two children, a linearised run and its partner, and what is left out; a second parent."""
    folder = tmp_path / "runs"
    made(folder / "alone")
    made(folder / "parent")
    for step in (0, 4):
        for child in range(2):
            made(folder / f"child-{step}-{child}", lineage=from_parent(step, child=child), order=child + 1)
    made(folder / "order1", lineage=from_parent(4, linearized={"order": 1}), lr=0.01, order=7)
    made(folder / "low-lr", lineage=from_parent(4), lr=0.01, order=7)
    made(folder / "diverged", status="diverged")
    made(folder / "empty", steps=())
    made(folder / "curve", network="curve")
    made(folder / "deep" / "er" / "nested", order=3)
    made(folder / ".hidden" / "run")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text("{")
    return folder


def test_runs_are_told_apart(runs: Path) -> None:
    cast = cast_of([runs])
    assert names(cast.parents)[0] == "parent"  # the one with children
    assert sorted(names(cast.parents)) == ["alone", "nested", "parent"]
    assert names(cast.children) == ["child-0-0", "child-0-1", "child-4-0", "child-4-1"]
    assert names(cast.linearized) == ["order1"]
    assert names(cast.low_rate) == ["low-lr"]
    assert cast.foreign == ()
    left_out = {Path(path).name: why for path, why in cast.left_out}
    assert set(left_out) == {"diverged", "empty", "curve", "damaged"}
    assert left_out["diverged"] == "it diverged"
    assert "no checkpoint" in left_out["empty"]
    assert "barrier --along" in left_out["curve"]
    assert "damaged" in left_out["damaged"]
    assert names(cast.networks) == names((*cast.parents, *cast.children))
    assert len(cast.runs) == 9


def test_a_child_at_another_rate_or_order_is_no_partner(runs: Path) -> None:
    made(runs / "other-rate", lineage=from_parent(4), lr=0.02, order=7)
    made(runs / "other-order", lineage=from_parent(4), lr=0.01, order=8)
    made(runs / "other-time", lineage=from_parent(0), lr=0.01, order=7)
    cast = cast_of([runs])
    assert names(cast.low_rate) == ["low-lr"]
    assert {"other-rate", "other-order", "other-time"} <= set(names(cast.children))


def test_siblings_have_one_parent_and_one_time(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(runs / "late", lineage=from_parent(8))
    made(runs / "elsewhere", lineage=from_parent(4) | {"parent": "../alone"})
    groups = cast_of([runs]).siblings()
    expected = [(0, ["child-0-0", "child-0-1"]), (4, ["child-4-0", "child-4-1"])]
    assert [(step, names(group)) for (_, step), group in groups.items()] == expected
    # One folder by two names: each run once, and still siblings.
    monkeypatch.chdir(runs.parent)
    mixed = cast_of([Path("runs/child-0-0"), runs / "child-0-1", runs / "child-0-0"])
    assert [names(group) for group in mixed.siblings().values()] == [["child-0-0", "child-0-1"]]


def test_checkpoints_of_other_tools_are_places(runs: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs_file(theirs, 1)
    file = theirs / "model-1.safetensors"
    cast = cast_of([theirs, runs, file])
    assert cast.foreign == (theirs, file)
    assert len(cast.runs) == 9
    (tmp_path / "nothing").mkdir()
    for place in ("nothing", "nowhere"):
        with pytest.raises(CheckpointError):
            cast_of([tmp_path / place])


def test_links_and_places_named_twice_give_each_run_once(runs: Path) -> None:
    (runs / "deep" / "loop").symlink_to(runs, target_is_directory=True)
    theirs_file(runs / "deep", 3)
    cast = cast_of([runs, runs / "deep" / ".." / "parent"])
    assert len(cast.runs) == 9
    assert [why for path, why in cast.left_out if path.endswith("model-3.safetensors")] == [BESIDE_RUNS]
    foreign = runs.parent / "theirs"
    foreign.mkdir()
    theirs_file(foreign, 1)
    (runs.parent / "link").symlink_to(foreign)
    assert cast_of([foreign, runs.parent / "link"]).foreign == (foreign,)


def plan_of(*runs: Run, folder: Path = Path("out"), foreign: tuple[Path, ...] = (), **more: Any) -> Plan:
    children = tuple(run for run in runs if run.lineage)
    parents = tuple(run for run in runs if not run.lineage)
    return plan_report(Cast(parents, children, foreign=foreign), folder, Settings(**more))


def steps_of(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps]


PREDICTIONS = ["predict", "distances", "embedding", "progress"]


def test_one_run_has_a_kernel_and_predictions(tmp_path: Path) -> None:
    run = made(tmp_path / "a")
    plan = plan_of(run)
    assert steps_of(plan) == ["kernels", "velocity", *PREDICTIONS]
    assert [what for what, _ in plan.missing] == [
        "error barriers and distances between networks", "trajectories and their clusters"
    ]  # fmt: skip
    velocity = plan.steps[1].command
    assert velocity[velocity.index("--dt") + 1] == "step:4"
    assert velocity[velocity.index("--at") + 1] == "step:0,step:4"


def test_one_checkpoint_has_nothing_to_compare(tmp_path: Path) -> None:
    plan = plan_of(made(tmp_path / "a", steps=(8,)))
    assert plan.steps == ()
    assert len(plan.missing) == 4


def test_siblings_are_compared_with_siblings(runs: Path) -> None:
    plan = plan_report(cast_of([runs]), Path("out"), Settings(samples=30))
    assert steps_of(plan) == ["barriers", "compare", "kernels", "velocity", *PREDICTIONS, "trajectories", "clusters"]
    assert plan.missing == ()
    barriers, compare = plan.steps[:2]
    for step in (barriers, compare):
        assert [Path(word).name for word in step.command if "child-" in word] == names(cast_of([runs]).children)
        assert step.command[step.command.index("--pairs") + 1] == "siblings"
        assert step.command[step.command.index("--samples") + 1] == "30"
    assert compare.panels[0][0] == "spawn"
    # Two pairs, and of each a path of so many points (and more beside the highest), each of so many images.
    assert barriers.passes == pytest.approx(2 * (POINTS + MORE_POINTS) * 30)
    assert plan_report(cast_of([runs]), Path("out"), Settings()).steps[0].passes == pytest.approx(
        2 * (POINTS + MORE_POINTS) * 100
    )
    train = plan_report(cast_of([runs]), Path("out"), Settings(split="train")).steps[0]
    assert train.passes == pytest.approx(2 * (POINTS + MORE_POINTS) * 300)
    assert train.command[train.command.index("--split") + 1] == "train"


def test_two_alike_are_joined_and_two_unlike_are_not(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a"), made(tmp_path / "b", order=1)
    plan = plan_of(a, b)
    assert steps_of(plan)[:2] == ["barriers", "compare"]
    command = plan.steps[0].command
    assert command[command.index("--pairs") + 1] == "all"
    assert [figure for figure, _ in plan.steps[1].panels] == ["matrix"]  # no time of spawning to draw against
    c, d = made(tmp_path / "c", network="wide"), made(tmp_path / "d", data="other")
    mixed = plan_of(c, a, d, b)  # those that are alike
    assert [word for word in mixed.steps[0].command if word.startswith(str(tmp_path))] == [str(a.path), str(b.path)]
    assert ("lines to 2 runs of other networks or data", "a report of their own") in mixed.missing
    for other in (c, d):
        unlike = plan_of(a, other)
        assert steps_of(unlike)[0] == "kernels"
        assert unlike.missing[0][0] == "error barriers and distances between networks"


def test_predictions_are_of_one_data_set(tmp_path: Path) -> None:
    plan = plan_of(made(tmp_path / "a"), made(tmp_path / "b", data="other"), made(tmp_path / "c", data="other"))
    predict = next(step for step in plan.steps if step.name == "predict")
    assert [word for word in predict.command if word.startswith(str(tmp_path))] == [str(tmp_path / "a")]
    assert ("predictions of 2 runs on other data", "a report of their own") in plan.missing


def test_checkpoints_of_other_tools_beside_runs_are_said(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs_file(theirs, 1)
    plan = plan_of(made(tmp_path / "a"), foreign=(theirs,))
    predict = next(step for step in plan.steps if step.name == "predict")
    assert str(theirs) not in predict.command
    assert (f"predictions of {theirs}", "a report of their own") in plan.missing


def test_trajectories_are_of_runs_that_have_one(tmp_path: Path) -> None:
    long = [made(tmp_path / name, order=k) for k, name in enumerate(("a", "b"))]
    short = made(tmp_path / "c", steps=(8,), lineage={"parent": "../a", "step": 0})
    everyone = next(s for s in plan_of(*long).steps if s.name == "trajectories")
    assert "--where" not in everyone.command
    some = next(s for s in plan_of(*long, short).steps if s.name == "trajectories")
    where = some.command[some.command.index("--where") + 1]
    assert where == f"run == '{tmp_path / 'a'}' or run == '{tmp_path / 'b'}'"
    assert "trajectories" not in steps_of(plan_of(long[0], short))


def test_few_of_many_checkpoints_have_kernels(tmp_path: Path) -> None:
    steps = tuple(range(0, 100, 2))
    plan = plan_of(made(tmp_path / "a", steps=steps))
    for name in ("kernels", "velocity"):
        command = next(step for step in plan.steps if step.name == name).command
        times = [int(word.removeprefix("step:")) for word in command[command.index("--at") + 1].split(",")]
        assert len(times) == len(set(times)) == MOST_KERNELS
        assert set(times) <= set(steps)
        assert times[0] == 0
        assert times[-1] == (98 if name == "kernels" else 96)


def test_other_tools_checkpoints(tmp_path: Path) -> None:
    folders = []
    for name in "abcdefgh":
        folder = tmp_path / name
        folder.mkdir()
        for step in (1, 2, 3):
            theirs_file(folder, step)
        folders.append(folder)
    plan = plan_of(foreign=tuple(folders[:1]), common=("--network", "mlp", "--data", "digits"))
    assert steps_of(plan) == ["kernels", *PREDICTIONS]
    assert [what for what, _ in plan.missing] == [
        "error barriers and distances between networks", "kernel velocity", "trajectories and their clusters"
    ]  # fmt: skip
    for step in plan.steps[:2]:
        assert "--network" in step.command
        assert "--data" in step.command
    assert "all" in plan.steps[1].command
    whole = plan_of(foreign=tuple(folders))
    assert any(what == "lines to 2 more networks" for what, _ in whole.missing)
    many = whole.steps[0]
    assert many.name == "barriers"
    assert [w for w in many.command if w.startswith(str(tmp_path))] == [str(path) for path in folders[:MOST_JOINED]]


def test_files_without_a_step_are_networks_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("first", "second"):
        save_file({"w": np.zeros(2, np.float32)}, folder / f"{name}.safetensors")
    barriers = plan_of(foreign=(folder,)).steps[0]
    assert barriers.name == "barriers"
    assert [Path(w).name for w in barriers.command if w.startswith(str(tmp_path))] == [
        "first.safetensors", "second.safetensors"
    ]  # fmt: skip
    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("a-100", "b-100"):  # of one step: no two times of one training
        save_file({"w": np.zeros(2, np.float32)}, twice / f"{name}.safetensors")
    assert steps_of(plan_of(foreign=(twice,)))[0] == "barriers"


def test_children_without_their_parent_have_kernels(tmp_path: Path) -> None:
    child = made(tmp_path / "child", lineage=from_parent(0))
    assert "kernels" in steps_of(plan_of(child))


@pytest.mark.parametrize(
    ("without", "gone"),
    [
        ("predict", {"predict", "distances", "embedding", "progress", "trajectories", "clusters"}),
        ("distances", {"distances", "embedding"}),
        ("trajectories", {"trajectories", "clusters"}),
        ("barriers", {"barriers"}),
    ],
)
def test_what_reads_a_step_that_is_left_out_goes_too(without: str, gone: set[str], runs: Path) -> None:
    cast = cast_of([runs])
    whole, rest = (
        set(steps_of(plan_report(cast, Path("out"), Settings(without=frozenset(w))))) for w in ([], [without])
    )
    assert whole - rest == gone
    assert rest < whole


def test_a_result_depends_on_each_checkpoint(tmp_path: Path) -> None:
    run = made(tmp_path / "a", steps=())

    def write(step: int, value: float) -> None:
        save_file({"w": np.full(2, value, np.float32)}, run.path / CHECKPOINTS / step_name(step))

    states = [state_of(run)]
    for step, value in ((0, 1.0), (4, 1.0), (8, 1.0), (4, 2.0), (0, 3.0)):
        write(step, value)
        states.append(state_of(run))
    file = run.path / CHECKPOINTS / step_name(4)
    file.write_bytes(file.read_bytes()[:-1])  # damaged
    states.append(state_of(run))
    assert all(one != other for k, one in enumerate(states) for other in states[:k])
    write(4, 2.0)  # whole again
    assert state_of(run) == states[-2]


def test_what_reads_last_checkpoints_depends_on_these_alone(tmp_path: Path) -> None:
    runs = [made(tmp_path / name, order=k) for k, name in enumerate("ab")]

    def states(value: float, step: int) -> dict[str, Any]:
        save_file({"w": np.full(2, value, np.float32)}, runs[0].path / CHECKPOINTS / step_name(step))
        return {one.name: one.inputs for one in plan_of(*runs).steps if one.inputs is not None}

    for step, changed in ((4, {"kernels", "velocity", "predict"}), (8, {"barriers", "compare", "kernels", "velocity",
                                                                     "predict"})):  # fmt: skip
        before, after = states(1.0, step), states(2.0, step)
        assert {name for name in before if before[name] != after[name]} == changed


def test_a_result_depends_on_the_files_of_network_and_data(tmp_path: Path) -> None:
    run = made(tmp_path / "a")
    code, arrays = tmp_path / "net.py", tmp_path / "data.npz"
    for file in (code, arrays):
        file.write_text("one")
    words = ("--network", f"{code}:build", "--data", f"npz:{arrays}")

    def inputs() -> list[Any]:
        return [step.inputs for step in plan_of(run, common=words).steps if step.inputs is not None]

    before = inputs()
    assert before == inputs()
    for file in (code, arrays):
        file.write_text("another")
        assert all(new != old for new, old in zip(inputs(), before, strict=True))
        before = inputs()


@settings(deadline=None, max_examples=60)
@given(steps=st.sets(st.integers(0, 40), max_size=9))
def test_the_interval_is_the_one_of_most_pairs(steps: set[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    run = made(tmp_path_factory.mktemp("i") / "run", steps=tuple(steps))
    counts = {dt: sum(step + dt in steps for step in steps) for dt in range(1, 41)}
    most = max(counts.values())
    found = best_interval(run)
    if most < 2:
        assert found is None
    else:
        assert found is not None
        interval, starts = found
        assert interval == min(dt for dt, count in counts.items() if count == most)
        assert starts == sorted(step for step in steps if step + interval in steps)
