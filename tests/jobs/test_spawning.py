"""Children: the parent's whole state, streams of their own; replayed where the parent kept no state."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import CheckpointError, ConflictError, UsageError
from landscape_cli.jobs import subjects
from landscape_cli.jobs.replaying import materialize
from landscape_cli.jobs.spawning import SpawnPlan, child_jobs, refuse_shared_places, with_origin
from landscape_cli.jobs.subjects import recorded_data, recorded_network
from landscape_cli.jobs.training import run_training
from landscape_cli.store.runs import RESUME, Run
from landscape_cli.times import parse_times
from tests.jobs.test_training import job


@pytest.fixture(scope="module")
def _parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("spawning") / "parent"
    run_training(job(out))
    return out


@pytest.fixture
def parent(_parent: Path, tmp_path: Path) -> Run:
    return Run.open(Path(shutil.copytree(_parent, tmp_path / "parent")))


def plan(parent: Run, at: str, **changes: object) -> SpawnPlan:
    settings: dict = {
        "parent": parent, "network": recorded_network(parent), "data": recorded_data(parent), "at": parse_times(at),
        "device": "cpu", "threads": 1, "children": 1,
    }  # fmt: skip
    return SpawnPlan(**{**settings, **changes})


def spawn(parent: Run, at: str, **changes: object) -> list[Run]:
    made = plan(parent, at, **changes)
    return [Run.open(Path(run_training(with_origin(made, job))["path"])) for job in child_jobs(made)]


def equal(one: Run, two: Run, step: int) -> bool:
    return one.checkpoint(step).hash() == two.checkpoint(step).hash()


@pytest.mark.parametrize("at", ["0ep", "1ep", "step:7", "2ep"])
def test_a_child_with_its_parents_streams_is_its_parent(parent: Run, at: str) -> None:
    """Weights, batch-norm statistics and optimiser, to the last bit, also from a step without a checkpoint (7)."""
    (child,) = spawn(parent, at, same_stream=True, keep_resume="all")
    for step in child.steps():
        if step in (0, 5, 10, 15):
            assert equal(child, parent, step)
            assert child.resume_file(step).read_bytes() == parent.resume_file(step).read_bytes()
    assert child.steps()[-1] == 15


@pytest.mark.parametrize("precision", ["float64", "bf16", "fp16"])
def test_in_every_precision(precision: str, tmp_path: Path) -> None:
    """A child from the parent's own state, one replayed through a step that has none, and the scale of an fp16 loss."""
    run_training(job(tmp_path / "parent", precision=precision))
    parent = Run.open(tmp_path / "parent")
    for at in ("1ep", "step:7"):
        (child,) = spawn(parent, at, same_stream=True, keep_resume="all")
        assert child.document["config"]["precision"] == precision
        assert equal(child, parent, 15)
        assert child.resume_file(15).read_bytes() == parent.resume_file(15).read_bytes()


def test_children_step_as_their_parent_does_unless_asked(parent: Run) -> None:
    (ours,) = child_jobs(plan(parent, "1ep"))
    assert (ours.compile, ours.deterministic) == ("auto", True)
    config = {**parent.document["config"], "compile": "inductor", "deterministic": False}
    other = parent.update(config=config)
    (same,) = child_jobs(plan(other, "1ep"))
    assert (same.compile, same.deterministic) == ("inductor", False)
    (asked,) = child_jobs(plan(other, "1ep", compile="none", deterministic=True))
    assert (asked.compile, asked.deterministic) == ("none", True)


def test_children_have_streams_of_their_own(parent: Run) -> None:
    children = spawn(parent, "1ep,2ep", children=2)
    seeds = [Seeds(**child.document["config"]["seeds"]) for child in children]
    assert len({s.order for s in seeds} | {parent.document["config"]["seeds"]["order"]}) == 5
    assert {s.init for s in seeds} == {1}
    finals = {child.checkpoint(15).hash() for child in [*children, parent]}
    assert len(finals) == 5
    for child in children:
        assert equal(child, parent, child.steps()[0])  # each begins where its parent was
    again = spawn(parent, "1ep,2ep", children=2, folder=parent.path.parent / "again")
    assert [c.checkpoint(15).hash() for c in again] == [c.checkpoint(15).hash() for c in children]
    other = spawn(parent, "1ep", seed=1, folder=parent.path.parent / "other")
    assert other[0].checkpoint(15).hash() not in finals


def test_lineage_names_where_a_child_comes_from(parent: Run) -> None:
    (child,) = spawn(parent, "2ep")
    assert child.name == "parent-at-2ep-child0"
    assert child.lineage == {
        "parent": "../parent", "parent_name": "parent", "step": 10, "epoch": 2.0, "child": 0,
        "hash": parent.checkpoint(10).hash(), "fresh_optimizer": False, "same_stream": False,
    }  # fmt: skip
    assert child.parent == parent.path
    record = child.record()
    assert (record["parent"], record["spawn_epoch"], record["child"]) == (str(parent.path), 2.0, 0)
    moved = Run.open(Path(shutil.copytree(parent.path.parent, parent.path.parent.parent / "moved")) / child.name)
    assert moved.parent == parent.path.parent.parent / "moved" / "parent"


def test_grandchildren_are_replayed_through_their_parent(parent: Run) -> None:
    (child,) = spawn(parent, "1ep", keep_resume="none", record="last")
    (again,) = spawn(child, "2ep", same_stream=True)
    assert again.steps() == [15]
    assert equal(again, child, 15)
    assert child.steps() == [10, 15]  # the replayed state is the child's now


def test_a_time_without_a_state_is_replayed_bit_for_bit(parent: Run) -> None:
    before = parent.checkpoint(10).hash()
    for file in (parent.resume_file(10), parent.resume_file(5)):
        file.unlink()
    materialize(plan(parent, "2ep"), 10)  # from step 0, over the checkpoint that is there
    assert parent.checkpoint(10).hash() == before
    assert parent.steps(RESUME) == [0, 10, 15]
    for folder in ("checkpoints", "resume"):
        shutil.rmtree(parent.path / folder)
    materialize(plan(parent, "2ep"), 10)  # from the seed
    assert parent.checkpoint(10).hash() == before


def test_a_replay_that_does_not_reproduce_is_told(parent: Run) -> None:
    from landscape_cli.store.checkpoints import read_tensors, write_tensors

    path = parent.checkpoint(10).path
    tensors = read_tensors([path])
    tensors["head.bias"] += 1e-3
    write_tensors(path, tensors, {"step": 10})
    parent.resume_file(10).unlink()
    with pytest.raises(ConflictError, match="does not reproduce its weights") as caught:
        materialize(plan(parent, "2ep"), 10)
    assert "--fresh-optimizer" in (caught.value.hint or "")
    assert materialize(plan(parent, "2ep", fresh_optimizer=True), 10) == parent.checkpoint(10).hash()


def test_a_parent_that_changed_is_noticed(parent: Run) -> None:
    made = plan(parent, "2ep")
    (ready,) = [with_origin(made, job) for job in child_jobs(made)]
    shutil.copy(parent.checkpoint(5).path, parent.checkpoint(10).path)
    with pytest.raises(ConflictError, match="is not the parent it was"):
        run_training(ready)


def test_a_fresh_optimizer_begins_with_zero_momentum(parent: Run) -> None:
    (fresh,) = spawn(parent, "1ep", same_stream=True, fresh_optimizer=True, name="fresh")
    (kept,) = spawn(parent, "1ep", same_stream=True, name="kept")
    assert equal(fresh, kept, 5)
    assert not equal(fresh, kept, 10)


def test_how_long_children_train(parent: Run) -> None:
    ends = {"end": 15, "3ep": 15, "2.5ep": 13, "+1ep": 10, "+2ep": 15, "step:9": 9, "+step:3": 8}
    for until, end in ends.items():
        (made,) = child_jobs(plan(parent, "1ep", until=until))
        assert made.end == end, until
    with pytest.raises(UsageError, match="goes beyond the cosine schedule"):
        child_jobs(plan(parent, "1ep", until="+3ep"))
    (made,) = child_jobs(plan(parent, "1ep", until="+30ep", changes={"schedule": "constant", "lr": 0.001}))
    assert (made.end, made.protocol.lr, made.protocol.schedule) == (155, 0.001, "constant")
    with pytest.raises(UsageError, match="lies before the spawn step"):
        child_jobs(plan(parent, "2ep", until="1ep"))
    lengths = {j.end - j.lineage["step"] for j in child_jobs(plan(parent, "0ep,1ep", until="+1ep"))}  # type: ignore[operator, index]
    assert lengths == {5}


def test_what_cannot_be_spawned_is_named(parent: Run) -> None:
    with pytest.raises(UsageError, match=r"--at 4ep .step 20. lies beyond the end of .*parent .step 15, 3ep."):
        child_jobs(plan(parent, "4ep"))
    with pytest.raises(UsageError, match="two children would be called twin"):
        child_jobs(plan(parent, "1ep", children=2, name="twin"))
    with pytest.raises(UsageError, match="--at 1ep and --at step:5 are one step, 5"):
        child_jobs(plan(parent, "1ep,step:5"))
    with pytest.raises(UsageError, match="is no pattern"):
        child_jobs(plan(parent, "1ep", name="{colour}"))
    with pytest.raises(UsageError, match="keep their parent's batch size"):
        child_jobs(plan(parent, "1ep", changes={"batch_size": 7}))
    foreign = Run.write(parent.path.parent / "foreign", {"config": {"network": None, "data": None}})
    with pytest.raises(CheckpointError, match="was not trained here"):
        child_jobs(replace(plan(parent, "1ep"), parent=foreign))


def test_children_of_two_parents_of_one_name_need_places_of_their_own(parent: Run, tmp_path: Path) -> None:
    other = Run.open(Path(shutil.copytree(parent.path, tmp_path / "other" / parent.name)))
    both = [job for one in (parent, other) for job in child_jobs(plan(one, "1ep", folder=tmp_path / "children"))]
    with pytest.raises(UsageError, match="two children would be called parent-at-1ep-child0"):
        refuse_shared_places(both)
    refuse_shared_places([job for one in (parent, other) for job in child_jobs(plan(one, "1ep"))])


def numbers(file: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    images = random.integers(0, 255, (60, 1, 8, 8), dtype=np.uint8)
    labels = random.integers(0, 3, 60)
    np.savez(file, x_train=images[:40], y_train=labels[:40], x_test=images[40:], y_test=labels[40:])


def test_data_that_changed_since_are_not_the_parents(tmp_path: Path) -> None:
    """Neither its children nor a step that it is replayed to would be what their records say."""
    file, out = tmp_path / "own.npz", tmp_path / "parent"
    numbers(file, 0)
    own = DataSpec(f"npz:{file}")
    run_training(job(out, data=own, protocol=Protocol(lr=0.05, epochs=2, batch_size=10), record="0ep,2ep"))
    run = Run.open(out)
    numbers(file, 1)
    subjects._load_data.cache_clear()
    for at in ("1ep", "2ep"):
        with pytest.raises(ConflictError, match=r"own\.npz is not what .*parent was trained on: its test part"):
            spawn(run, at)
    assert run.steps() == [0, 8]
    other = tmp_path / "other.npz"
    numbers(other, 1)
    asked = {"data": DataSpec(f"npz:{other}")}
    with pytest.raises(ConflictError, match="replayed to step 4, but was trained on other test data"):
        spawn(run, "1ep", **asked)
    (child,) = spawn(run, "2ep", until="+1ep", **asked)  # other data that are asked for, from a state that is there
    assert child.document["data"]["fingerprint"] != run.document["data"]["fingerprint"]
    numbers(other, 0)
    subjects._load_data.cache_clear()
    assert spawn(run, "1ep", **asked)[0].status == "finished"  # the same data in another place


def test_a_replay_needs_the_network_as_it_was(parent: Run) -> None:
    for changes in ({"network": replace(recorded_network(parent), options={"width": 0.5})},
                    {"data": replace(recorded_data(parent), options={"normalize": "none"})}):  # fmt: skip
        with pytest.raises(ConflictError, match="has to be replayed to step 7, but"):
            spawn(parent, "step:7", **changes)


def test_letters_and_later_children(parent: Run) -> None:
    jobs = child_jobs(plan(parent, "0ep,step:7", children=2, first_child=1, name="{letter}-{step}"))
    assert [j.out.name for j in jobs] == ["b-0", "c-0", "b-7", "c-7"]


def test_a_child_interrupted_goes_on_as_itself(parent: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape_cli.errors import InterruptedRunError
    from tests.jobs.test_training import stop_after

    (whole,) = spawn(parent, "1ep", name="whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 8)
        with pytest.raises(InterruptedRunError):
            spawn(parent, "1ep", name="cut")
    (cut,) = spawn(parent, "1ep", name="cut")
    assert equal(cut, whole, 15)
    assert torch.equal(cut.checkpoint(15).tensors()["head.bias"], whole.checkpoint(15).tensors()["head.bias"])
    metrics = [(run.path / "metrics.jsonl").read_text() for run in (cut, whole)]
    assert metrics[0] == metrics[1]


def test_priming_happens_once_in_a_family(tmp_path: Path) -> None:
    from landscape_cli.compute.training.protocol import Protocol

    primed = job(tmp_path / "parent", protocol=Protocol(lr=0.05, epochs=1, batch_size=40, prime_bn=2))
    run_training(primed)
    parent = Run.open(tmp_path / "parent")
    (child,) = spawn(parent, "0ep", same_stream=True)
    assert equal(child, parent, 0)
    assert equal(child, parent, 5)
    shutil.rmtree(parent.path / "resume")
    assert materialize(plan(parent, "0ep"), 0) == child.checkpoint(0).hash()
