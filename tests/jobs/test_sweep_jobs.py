"""A run of a sweep is the run that ``landscape train`` makes; its plan adds up; its status is what lies on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from landscape_cli.compute.device import placement
from landscape_cli.compute.training.timing import seconds_per_sample
from landscape_cli.errors import DataError, LandscapeError
from landscape_cli.jobs.subjects import samples_of
from landscape_cli.jobs.sweep_jobs import Outline, named, run_one, survey, train_job
from landscape_cli.jobs.sweep_plans import Sizes, costs, plan_runs, totals
from landscape_cli.jobs.sweep_status import Progressed, folder_status, look, record_sweep, records, summary
from landscape_cli.jobs.sweeps import SweepRun, expand, parse_sweep
from landscape_cli.jobs.training import TrainJob, plan_training, run_training
from landscape_cli.store.locks import exclusive
from landscape_cli.store.runs import Run
from tests.conftest import TRAIN, Cli

SMALL = {"network": "mlp", "network-option": {"widths": [16]}, "data": "digits", "train-size": 256, "batch-size": 64}
SMALL |= {"epochs": 3.0, "lr": 0.1}


def job(tmp_path: Path, name: str = "run", **changes: Any) -> TrainJob:
    given = {key.replace("_", "-"): value for key, value in changes.items()}
    return train_job(SweepRun(name, SMALL | given), tmp_path, device="cpu", threads=1)


def outline(of: TrainJob) -> Outline:
    (found,) = survey([of])
    assert isinstance(found, Outline), found
    return found


def test_a_run_of_a_sweep_is_the_run_that_train_makes(cli: Cli, tmp_path: Path) -> None:
    """The same configuration, the same bits; and each finds the other finished."""
    assert cli(*TRAIN, "--out", tmp_path / "trained", "--seed", "3", "--checkpoints", "every:1ep").status == 0
    mine = job(tmp_path, "swept", seed=3, checkpoints="every:1ep")
    assert run_one(mine)["status"] == "finished"
    trained, swept = (Run.open(tmp_path / name) for name in ("trained", "swept"))
    assert swept.document["config"] == trained.document["config"]
    assert [c.hash() for c in swept.checkpoints()] == [c.hash() for c in trained.checkpoints()]
    there = outline(job(tmp_path, "trained", seed=3, checkpoints="every:1ep")).settled
    assert there is not None
    assert there.path == tmp_path / "trained"
    assert outline(job(tmp_path, "trained", seed=4, checkpoints="every:1ep")).settled is None


def test_a_preset_brings_network_protocol_and_classes(tmp_path: Path) -> None:
    run = SweepRun("run", {"preset": "fort2020-wrn-16-4-cifar100", "data": "digits", "seed": 5, "order-seed": 6})
    made = train_job(run, tmp_path)
    assert (made.network.name, made.classes, made.protocol.milestones) == ("wrn-16-4", 100, (60, 120))
    assert (made.seeds.init, made.seeds.order, made.seeds.dropout) == (5, 6, 5)
    (problem,) = survey([made])
    assert isinstance(problem, DataError)
    assert problem.message == "the preset is for 100 classes, but digits has 10"


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("keep", ["all", "last", "none"])
def test_a_plan_has_the_bytes_and_operations_that_train_tells(tmp_path: Path, optimizer: str, keep: str) -> None:
    one = job(tmp_path, optimizer=optimizer, resume_states=keep)
    (plan,) = plan_runs([one], survey([one]), timed=False)
    told = plan_training(one)
    same = ("parameters", "steps_per_epoch", "last_step", "checkpoints", "bytes")
    assert {key: plan[key] for key in same} == {key: told[key] for key in same}
    forward = told["operations"] // (3 * told["last_step"] * 64)
    evaluated = 256 + 355  # all of the subset and the test images of digits, at each checkpoint
    assert plan["operations"] == told["operations"] + told["checkpoints"] * evaluated * forward
    assert plan["seconds"] is None


def test_the_cost_of_what_is_left(tmp_path: Path) -> None:
    one = job(tmp_path)
    known = outline(one)
    sizes = Sizes(parameters=10, weights=100, trained=40, forward=7, sample_seconds=0.5)
    whole = costs(one, known, sizes, Progressed(one.out, "missing"))
    half = costs(one, known, sizes, Progressed(one.out, "interrupted", step=6, steps=12))
    assert whole["seconds"] == pytest.approx(0.5 * (12 * 64 + known.checkpoints * 611 / 3), abs=1e-3)
    for key in ("bytes", "operations", "seconds"):
        assert half[key] == pytest.approx(whole[key] / 2, rel=1e-3)
    run_training(one)
    (plan,) = plan_runs([one], survey([one]), timed=False)
    assert (plan["status"], plan["bytes"], plan["operations"]) == ("finished", 0, 0)
    other = job(tmp_path, lr=0.2)
    (plan,) = plan_runs([other], survey([other]), timed=False)
    assert "a run made otherwise" in plan["problem"]
    assert totals([plan]) == {"runs": 1, "settled": 0, "problems": 1, "bytes": 0, "operations": 0, "seconds": 0}


def test_timing_counts_every_sample_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that ticks once a look: a pass takes one tick, whatever it does."""
    from landscape_cli.compute.training import timing
    from landscape_cli.datasets import DataSpec
    from landscape_cli.jobs.subjects import load_data

    data = load_data(DataSpec("digits"))
    samples = samples_of(data.train, data.normalization, placement("cpu"))
    ticks = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    assert seconds_per_sample(network, samples, 8, seconds=3) == 1 / 8
    assert seconds_per_sample(network, samples, 8, seconds=0.5) == 1 / 8  # the first pass alone took longer


def test_one_bad_line_does_not_hide_the_others(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "good"), job(tmp_path, "bad", network="mlpp"), job(tmp_path, "gone", data="npz:nowhere.npz")]
    jobs += [job(tmp_path, "large", batch_size=999)]
    good, bad, gone, large = survey(jobs)
    assert isinstance(good, Outline)
    assert isinstance(bad, LandscapeError)
    assert bad.message == "there is no network 'mlpp'"
    assert isinstance(gone, DataError)
    assert isinstance(large, LandscapeError)
    assert "larger than the training set" in large.message
    assert named(bad, jobs[1]).message == f"{tmp_path / 'bad'}: there is no network 'mlpp'"
    plans = list(plan_runs(jobs, [good, bad, gone, large], timed=False))
    assert ["problem" in plan for plan in plans] == [False, True, True, True]
    assert totals(plans)["problems"] == 3


def test_a_run_that_diverges_is_a_result(tmp_path: Path) -> None:
    wild = job(tmp_path, lr=1e30, network_option={"widths": [8]})
    record = run_one(wild)
    assert (record["status"], record["checkpoints"] > 0) == ("diverged", True)
    there = outline(wild).settled
    assert there is not None
    assert there.status == "diverged"


def test_statuses_are_told_from_the_disk(tmp_path: Path) -> None:
    runs = expand(parse_sweep({"fixed": SMALL, "grid": {"seed": "0..4"}, "name": "s{seed}"}, "grid.toml"))
    record_sweep(tmp_path, "somewhere/grid.toml", runs)
    jobs = [train_job(run, tmp_path, device="cpu", threads=1) for run in runs]
    for one in jobs[:3]:
        run_training(one)
    Run.open(jobs[0].out).update(seconds=6.0)
    killed, held = (Run.open(one.out) for one in jobs[1:3])
    for run in (killed, held):
        lines = (run.path / "metrics.jsonl").read_text().splitlines()
        kept = [line for line in lines if json.loads(line)["step"] <= 4]
        (run.path / "metrics.jsonl").write_text("\n".join(kept) + "\n")
        run.update(status="running", seconds=0.0)
    (jobs[3].out).mkdir()
    (jobs[3].out / "run.json").write_text("{")
    with exclusive(held.path):
        found = folder_status(tmp_path)
    assert [item.status for item in found] == ["finished", "interrupted", "running", "damaged", "missing"]
    assert [item.progress for item in found] == [1.0, 4 / 12, 4 / 12, 0.0, 0.0]
    rows = records(found)
    assert [row["kind"] for row in rows] == ["run", "run", "run", "missing", "missing"]
    assert [row["seconds_left"] for row in rows] == pytest.approx([0.0, 4.0, 4.0, 6.0, 6.0])
    whole = summary(found)
    counts = {key: whole[key] for key in ("runs", "finished", "interrupted", "running", "damaged", "missing")}
    assert counts == {"runs": 5, "finished": 1, "interrupted": 1, "running": 1, "damaged": 1, "missing": 1}
    assert whole["progress"] == pytest.approx((1 + 4 / 12 + 4 / 12) / 5, abs=1e-6)
    assert whole["seconds_left"] == pytest.approx(20.0)


def test_the_time_left_goes_by_the_most_alike(tmp_path: Path) -> None:
    def item(status: str, network: str, seconds: float, batch: int = 64) -> Progressed:
        given = {"network": network, "data": "digits", "batch-size": batch, "epochs": 2.0}
        return Progressed(tmp_path / "x", status, epochs=2.0, seconds=seconds, settings=given)

    done = [item("finished", "mlp", 2.0), item("finished", "mlp", 4.0, batch=32), item("finished", "resnet20", 90.0)]
    todo = [item("missing", "mlp", 0), item("missing", "mlp", 0, batch=8), item("missing", "vit", 0)]
    left = [row["seconds_left"] for row in records([*done, *todo])]
    assert left == [0, 0, 0, 2.0, 3.0, 4.0]  # alike; the median of its network; the median of all
    assert records(todo)[0]["seconds_left"] is None
    assert summary(todo)["seconds_left"] is None


def test_what_is_no_folder_of_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no runs"):
        folder_status(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        folder_status(tmp_path / "nowhere")
    (tmp_path / ".sweeps").mkdir()
    (tmp_path / ".sweeps" / "grid.json").write_text("[]")
    with pytest.raises(DataError, match=r"grid.json is damaged"):
        folder_status(tmp_path)
    assert look(tmp_path / "nothing").status == "missing"
