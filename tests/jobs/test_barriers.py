import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landscape_cli.compute.device import placement
from landscape_cli.compute.evaluation import evaluate
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import CheckpointError, NetworkError, UsageError
from landscape_cli.jobs import barriers as jobs
from landscape_cli.jobs import subjects
from landscape_cli.jobs.barriers import Barriers, BarrierSettings, PathResult, path_points
from landscape_cli.jobs.bench import Bench, Sampling
from landscape_cli.jobs.pairs import Subject, default_pairing, pair
from landscape_cli.jobs.summaries import barriers_by_spawn_time
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.checkpoints import read_tensors
from landscape_cli.store.locate import locate
from landscape_cli.store.runs import Run
from tests.conftest import SAMPLES

FAST = BarrierSettings(points=5, refine=1)
SMALL = Sampling(splits=("test",), samples=60)


def subject(path: object, **extra: object) -> Subject:
    return Subject(locate(str(path)), extra=dict(extra))


def bench(**options: object) -> Bench:
    settings: dict = {"sampling": SMALL, "where": placement("cpu"), **options}
    return Bench(settings.pop("sampling"), settings.pop("where"), **settings)


def measure(a: object, b: object, settings: BarrierSettings = FAST, **options: object) -> PathResult:
    return Barriers(bench(**options), settings).line(subject(a), subject(b))


def test_the_samples_show_the_finding() -> None:
    """Children spawned early are separated by a barrier in error and loss, children spawned late are not."""
    whole = Sampling()
    early = measure(SAMPLES / "early-a", SAMPLES / "early-b", BarrierSettings(points=11), sampling=whole)
    late = measure(SAMPLES / "late-a", SAMPLES / "late-b", BarrierSettings(points=11), sampling=whole)
    for one, two in zip(early.records, late.records, strict=True):
        assert one["split"] == two["split"]
        assert one["error_sup"] > 0.5
        assert two["error_sup"] < 0.02
        assert one["loss_sup"] > 1 > 0.05 > two["loss_sup"]
    assert [r["split"] for r in early.records] == ["train", "test"]


def test_a_record_says_how_it_was_measured() -> None:
    (record,) = measure(SAMPLES / "early-a", SAMPLES / "early-b").records
    assert record["kind"] == "barrier"
    assert (record["a"], record["b"]) == (str(SAMPLES / "early-a"), str(SAMPLES / "early-b"))
    for risk in ("error", "loss"):
        for key in ("sup", "sup_alpha", "mid", "chord", "chord_alpha", "a", "b"):
            assert math.isfinite(record[f"{risk}_{key}"])
    assert record["points"] > record["grid"] == 5
    assert (record["split"], record["samples"], record["batch_norm"], record["bn_samples"]) == ("test", 60, None, None)
    assert (record["data"], record["other_data"], record["network"]) == ("digits", False, "simple-cnn")
    assert (record["step"], record["epoch"], record["spawn_step"], record["spawn_epoch"]) == (330, 15.0, 0, 0.0)
    assert record["parent"] == str(SAMPLES / "parent")
    assert json.loads(json.dumps(record)) == record


def test_a_run_with_itself_is_exactly_zero() -> None:
    (record,) = measure(SAMPLES / "early-a", SAMPLES / "early-a").records
    assert {record[f"{risk}_{key}"] for risk in ("error", "loss") for key in ("sup", "mid", "chord")} == {0.0}


def test_the_ends_have_the_numbers_that_training_recorded() -> None:
    (record,) = measure(SAMPLES / "early-a", SAMPLES / "late-b", sampling=Sampling(splits=("test",))).records
    for name, run in (("a", "early-a"), ("b", "late-b")):
        result = Run.open(SAMPLES / run).document["result"]
        assert record[f"error_{name}"] == result["test_error"]
        assert record[f"loss_{name}"] == pytest.approx(result["test_loss"], rel=1e-5)


def test_an_interrupted_measurement_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BarrierSettings(points=9, refine=2)
    measured: list[float] = []
    original = jobs.measure_on

    def counting(*arguments: object, **options: object):
        inner = original(*arguments, **options)  # type: ignore[arg-type]

        def measure_one(alpha: float):
            if len(measured) == 6:
                raise KeyboardInterrupt
            measured.append(alpha)
            return inner(alpha)

        return measure_one

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "measure_on", counting)
        with pytest.raises(KeyboardInterrupt):
            measure(SAMPLES / "early-a", SAMPLES / "early-b", settings)
    went_on = measure(SAMPLES / "early-a", SAMPLES / "early-b", settings)
    assert went_on.reused == 6
    repeated = measure(SAMPLES / "early-a", SAMPLES / "early-b", settings)
    assert repeated.reused == len(repeated.points)
    fresh = measure(SAMPLES / "early-a", SAMPLES / "early-b", BarrierSettings(points=9, refine=2, fresh=True))
    assert fresh.reused == 0
    assert went_on.records == repeated.records == fresh.records


def test_what_was_measured_otherwise_is_not_reused() -> None:
    measure(SAMPLES / "early-a", SAMPLES / "early-b")
    assert measure(SAMPLES / "early-a", SAMPLES / "early-b").reused > 0
    for options in (
        {"sampling": Sampling(splits=("test",), samples=61)},
        {"sampling": Sampling(splits=("train",), samples=60)},
        {"sampling": Sampling(splits=("test",), samples=60, seed=1)},
        {"sampling": Sampling(splits=("test",), samples=60, batch=7)},
        {"where": placement("cpu", "float64")},
        {"data": DataSpec("digits", {"normalize": "none"}, train_size=1000)},
    ):
        assert measure(SAMPLES / "early-a", SAMPLES / "early-b", **options).reused == 0  # type: ignore[arg-type]
    assert measure(SAMPLES / "early-b", SAMPLES / "early-a").reused == 0


@pytest.fixture(scope="module")
def resnets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    from landscape_cli.compute.training.protocol import Seeds
    from landscape_cli.jobs.training import run_training
    from tests.jobs.test_training import job

    root = tmp_path_factory.mktemp("resnets")
    for seed in (0, 1):
        run_training(job(root / str(seed), seeds=Seeds(seed, seed, seed, seed), record="last"))
    return [root / "0", root / "1"]


def test_batch_norm_is_part_of_every_record(resnets: list[Path]) -> None:
    found = {}
    for mode in ("recompute", "lerp", "keep"):
        settings = BarrierSettings(points=5, refine=0, batch_norm=mode)  # type: ignore[arg-type]
        (found[mode],) = measure(*resnets, settings, sampling=Sampling(splits=("test",), bn_samples=150)).records
        assert found[mode]["batch_norm"] == mode
    assert found["recompute"]["bn_samples"] == 150
    assert found["lerp"]["bn_samples"] is None
    assert "own_error_a" not in found["lerp"]
    for name, run in zip("ab", resnets, strict=True):
        result = Run.open(run).document["result"]
        assert found["recompute"][f"own_error_{name}"] == result["test_error"]
        assert found["lerp"][f"error_{name}"] == result["test_error"]
    assert found["keep"]["error_a"] == found["lerp"]["error_a"]
    assert len({found[mode]["loss_mid"] for mode in found}) == 3


def test_other_peoples_files_with_network_and_data(tmp_path: Path) -> None:
    files = []
    for name in ("early-a", "early-b"):
        (source,) = (SAMPLES / name / "checkpoints").glob("*")
        files.append(tmp_path / f"{name}.safetensors")
        save_file(read_tensors([source]), files[-1])
    with pytest.raises(UsageError, match="does not say what network and data") as caught:
        measure(*files)
    assert "--network NAME --data DATA" in (caught.value.hint or "")
    given = {"network": NetworkSpec("simple-cnn", {"width": "0.5"}), "data": DataSpec("digits")}
    (theirs,) = measure(*files, **given).records
    (ours,) = measure(SAMPLES / "early-a", SAMPLES / "early-b").records
    assert theirs["error_sup"] == ours["error_sup"]
    assert theirs["parent"] is theirs["spawn_epoch"] is None


def test_other_data_is_allowed_and_said() -> None:
    told: list[str] = []
    table = bench(data=DataSpec("digits", train_size=300, label_noise=0.1), note=told.append)
    (record,) = Barriers(table, FAST).line(subject(SAMPLES / "early-a"), subject(SAMPLES / "early-b")).records
    assert record["other_data"] is True
    assert len(told) == 2
    assert "was trained on other data than the digits" in told[0]
    Barriers(table, FAST).line(subject(SAMPLES / "early-a"), subject(SAMPLES / "early-b"))
    assert len(told) == 2


def test_inputs_are_normalised_as_in_training() -> None:
    kept = bench(data=DataSpec("digits", {"normalize": "none"}))
    (record,) = Barriers(kept, FAST).line(subject(SAMPLES / "early-a"), subject(SAMPLES / "early-b")).records
    (usual,) = measure(SAMPLES / "early-a", SAMPLES / "early-b").records
    assert record["error_a"] == usual["error_a"]


def test_different_networks_are_named(resnets: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"are different networks: tensor 'conv\.weight'"):
        measure(resnets[0], SAMPLES / "early-a")
    other = Path(shutil.copytree(SAMPLES / "early-b", tmp_path / "other"))
    document = json.loads((other / "run.json").read_text())
    document["config"]["network"]["options"]["width"] = 0.25
    (other / "run.json").write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"different networks: simple-cnn .*0\.5.* and simple-cnn .*0\.25"):
        measure(SAMPLES / "early-a", other)


def test_different_data_needs_a_word(tmp_path: Path) -> None:
    other = Path(shutil.copytree(SAMPLES / "early-b", tmp_path / "other"))
    document = json.loads((other / "run.json").read_text())
    document["data"]["fingerprint"]["train"] = "0" * 32
    (other / "run.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="were trained on different data") as caught:
        measure(SAMPLES / "early-a", other)
    assert "--data" in (caught.value.hint or "")
    assert measure(SAMPLES / "early-a", other, data=DataSpec("digits")).records[0]["other_data"] is True


def test_code_named_inside_a_run_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\ndef build(): pass\n")
    other = Path(shutil.copytree(SAMPLES / "early-a", tmp_path / "other"))
    document = json.loads((other / "run.json").read_text())
    for key, option, value in (("network", "--network", {"name": f"{trap}:build", "options": {}}),
                               ("data", "--data", {**document["config"]["data"], "source": f"{trap}:build"})):  # fmt: skip
        changed = json.loads(json.dumps(document))
        changed["config"][key] = value
        (other / "run.json").write_text(json.dumps(changed))
        with pytest.raises(UsageError, match="code named inside a run is not executed") as caught:
            measure(other, other)
        assert f"{option} {trap}:build" in (caught.value.hint or "")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "head.bias"}, r"tensor 'head\.bias'"),
        (lambda t: t | {"more": torch.zeros(1)}, "tensor 'more'"),
        (lambda t: t | {"head.bias": torch.zeros(9)}, r"tensor 'head\.bias'.*\(9,\)"),
        (lambda t: t | {"head.bias": torch.full((10,), float("nan"))}, r"tensor 'head\.bias' holds NaN"),
    ],
)
def test_damaged_weights_are_named(siblings: list[Path], change, message: str) -> None:
    (file,) = (siblings[1] / "checkpoints").glob("*")
    save_file(change(read_tensors([file])), file)
    with pytest.raises(CheckpointError, match=message):
        measure(*siblings)


def test_a_truncated_checkpoint_is_named(siblings: list[Path]) -> None:
    (file,) = (siblings[1] / "checkpoints").glob("*")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"step-00000330\.safetensors is damaged: it is cut off"):
        measure(*siblings)


def test_classes_and_shapes_that_do_not_match_the_data(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"takes images, but the data has inputs of shape \(200,\)"):
        measure(SAMPLES / "early-a", SAMPLES / "early-b", data=DataSpec("synthetic:sloppy"))
    random = np.random.default_rng(0)
    for shape, message in (((1, 8, 8), r"'head\.weight' has shape \(10, 64\), the network needs \(7, 64\)"),
                           ((3, 8, 8), r"'conv1\.weight' has shape \(16, 1, 3, 3\), the network needs \(16, 3, 3, 3\)")):  # fmt: skip
        arrays = {"x": random.random((70, *shape)), "y": np.arange(70) % 7}
        np.savez(
            tmp_path / "data.npz", **{f"{key}_{part}": v for key, v in arrays.items() for part in ("train", "test")}
        )
        subjects._load_data.cache_clear()  # the file changed under its name
        with pytest.raises(CheckpointError, match=message):
            measure(SAMPLES / "early-a", SAMPLES / "early-b", data=DataSpec(f"npz:{tmp_path / 'data.npz'}"))


def test_pairs() -> None:
    names = ["early-a", "early-b", "late-a", "late-b"]
    subjects = [subject(SAMPLES / name) for name in names]

    def named(how: str) -> list[str]:
        return [f"{Path(a.checkpoint.label).name}+{Path(b.checkpoint.label).name}" for a, b in pair(subjects, how)]  # type: ignore[arg-type]

    assert named("siblings") == named("given") == ["early-a+early-b", "late-a+late-b"]
    assert named("consecutive") == ["early-a+early-b", "early-b+late-a", "late-a+late-b"]
    assert len(named("all")) == 6
    assert default_pairing(subjects) == "siblings"
    assert default_pairing(subjects[:2]) == "given"
    with pytest.raises(UsageError, match="3 checkpoints do not come in pairs"):
        pair(subjects[:3], "given")
    with pytest.raises(UsageError, match="no two of them are children of one parent"):
        pair([subjects[0], subjects[2]], "siblings")
    with pytest.raises(UsageError, match="is no child"):
        pair([subjects[0], subject(SAMPLES / "parent")], "siblings")
    with pytest.raises(UsageError, match="which are to be compared"):
        default_pairing([*subjects, subject(SAMPLES / "parent")])
    with pytest.raises(UsageError, match="one is not two"):
        pair(subjects[:1], "all")


def test_unknown_entries_of_the_inputs_pass_through() -> None:
    a, b = subject(SAMPLES / "early-a", tag="x", mine=1), subject(SAMPLES / "early-b", tag="x", mine=2)
    (record,) = Barriers(bench(), FAST).line(a, b).records
    assert (record["tag"], record["a_mine"], record["b_mine"]) == ("x", 1, 2)


def test_the_whole_path_as_records() -> None:
    a, b = subject(SAMPLES / "early-a"), subject(SAMPLES / "early-b")
    result = Barriers(bench(sampling=Sampling(samples=50)), FAST).line(a, b)
    points = list(path_points(result, a.checkpoint, b.checkpoint))
    assert {p["split"] for p in points} == {"train", "test"}
    tests = [p for p in points if p["split"] == "test"]
    assert [p["alpha"] for p in tests] == sorted(p["alpha"] for p in tests)
    level = (tests[0]["error"] + tests[-1]["error"]) / 2
    assert max(p["error"] for p in tests) - level == pytest.approx(result.records[1]["error_sup"])


def test_averages_over_pairs() -> None:
    def record(epoch: float, value: float) -> dict:
        keys = {f"{risk}_{r}": value for risk in ("error", "loss") for r in ("sup", "mid", "chord")}
        return {"kind": "barrier", "split": "test", "spawn_epoch": epoch, "error_a": 0.1, "error_b": 0.3, **keys}

    rows = barriers_by_spawn_time(
        [
            record(2, 0.5),
            record(0, 0.2),
            record(0, 0.4),
            {**record(0, 9), "split": "train"},
            {**record(0, 9), "spawn_epoch": None},
        ]
    )
    assert [(row["spawn_epoch"], row["pairs"]) for row in rows] == [(0, 2), (2, 1)]
    assert rows[0]["error_sup_mean"] == pytest.approx(0.3)
    assert rows[0]["error_sup_std"] == pytest.approx(math.sqrt(0.02))
    assert rows[1]["error_sup_std"] is None
    assert rows[0]["error_ends"] == pytest.approx(0.2)
    assert math.isnan(barriers_by_spawn_time([record(0, 0.1), record(0, math.nan)])[0]["loss_mid_mean"])


def test_pairs_that_share_a_checkpoint_read_and_evaluate_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [subject(SAMPLES / name) for name in ("early-a", "early-b", "late-a", "late-b", "parent")]
    settings = BarrierSettings(points=3, refine=0, fresh=True)
    apart = [Barriers(bench(), settings).line(a, b).records for a, b in pair(ends, "all")]
    walked: list[float] = []
    original = jobs.measure_on

    def counting(*arguments: object, **options: object):
        inner = original(*arguments, **options)  # type: ignore[arg-type]
        return lambda alpha: walked.append(alpha) or inner(alpha)

    monkeypatch.setattr(jobs, "measure_on", counting)
    together = Barriers(bench(), settings)
    assert [together.line(a, b).records for a, b in pair(ends, "all")] == apart
    assert together.ends.read == 5
    assert len(walked) == 10 + 5  # the middle of each line, and each checkpoint


def test_shared_ends_have_the_path_s_batch_norm(resnets: list[Path]) -> None:
    """Whatever is shared between pairs is what each pair alone measures."""
    ends = [subject(path) for path in resnets]
    for mode in ("recompute", "lerp", "keep"):
        settings = BarrierSettings(points=3, refine=0, batch_norm=mode, fresh=True)  # type: ignore[arg-type]
        together = Barriers(bench(), settings)
        for a, b in ((ends[0], ends[1]), (ends[1], ends[0])):
            (found,) = together.line(a, b).records
            (alone,) = Barriers(bench(), settings).line(a, b).records
            assert found == alone


@pytest.mark.parametrize("others", ["a", "b"])
def test_one_layer_moves_and_the_others_stay(others: str) -> None:
    """Against a network put together by hand."""
    a, b = subject(SAMPLES / "early-a"), subject(SAMPLES / "early-b")
    table = bench()
    settings = BarrierSettings(points=5, refine=0, layers=("conv2", "he*"), others=others)  # type: ignore[arg-type]
    found = list(Barriers(table, settings).paths(a, b))
    assert [result.layer for result in found] == ["conv2", "head"]
    one, two = a.checkpoint.tensors(), b.checkpoint.tensors()
    setup = table.setup((a, b))
    for result in found:
        (record,) = result.records
        assert (record["layer"], record["others"]) == (result.layer, others)
        for point in result.points:
            mixed = dict(one if others == "a" else two)
            for name in (f"{result.layer}.weight", f"{result.layer}.bias"):
                mixed[name] = point.alpha * one[name] + (1 - point.alpha) * two[name]
            setup.network.load_state_dict(mixed)
            by_hand = evaluate(setup.network, setup.splits["test"])
            assert point.results["test"].loss == pytest.approx(by_hand.loss, rel=1e-5)
            assert point.results["test"].error == by_hand.error


def test_every_layer_that_trains_has_its_turn(resnets: list[Path]) -> None:
    settings = BarrierSettings(points=3, refine=0, layers=())
    table = bench()
    found = list(Barriers(table, settings).paths(subject(resnets[0]), subject(resnets[1])))
    network = table.setup([subject(resnets[0])]).network
    assert [result.layer for result in found] == [
        name for name, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))
    ]
    with pytest.raises(UsageError, match="has no layer 'nothing'") as caught:
        list(Barriers(table, replace(settings, layers=("nothing",))).paths(subject(resnets[0]), subject(resnets[1])))
    assert "stage1.0.conv1" in (caught.value.hint or "")


def test_beyond_the_two_networks_the_line_goes_on() -> None:
    a, b = subject(SAMPLES / "early-a"), subject(SAMPLES / "early-b")
    table = bench()
    near = Barriers(table, BarrierSettings(points=5, refine=1)).line(a, b)
    far = Barriers(table, BarrierSettings(points=5, refine=1, span=(-0.3, 1.5))).line(a, b)
    assert far.reused == len(near.points)
    assert [p.alpha for p in far.points if not 0 <= p.alpha <= 1] == [-0.3, -0.25, 1.25, 1.5]
    readings = [k for k in near.records[0] if k != "points"]
    assert {k: far.records[0][k] for k in readings} == {k: near.records[0][k] for k in readings}
    one, two = a.checkpoint.tensors(), b.checkpoint.tensors()
    setup = table.setup((a, b))
    setup.network.load_state_dict({name: 1.5 * one[name] - 0.5 * two[name] for name in one})
    by_hand = evaluate(setup.network, setup.splits["test"])
    assert far.points[-1].results["test"].loss == pytest.approx(by_hand.loss, rel=1e-4)


def test_a_layer_s_kept_statistics_are_not_taken_for_the_other_network_s(resnets: list[Path]) -> None:
    """At α = 0 the layer's statistics are A's while all weights are B's: that is not B."""
    a, b = (subject(path) for path in resnets)
    alone = BarrierSettings(points=3, refine=0, batch_norm="keep")
    list(Barriers(bench(), replace(alone, layers=("stage1.0.norm1",), others="b")).paths(a, b))
    after = Barriers(bench(), alone).line(b, a).records
    assert after == Barriers(bench(), replace(alone, fresh=True)).line(b, a).records


TIED = """
from torch import nn


class Tied(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.embed, self.one, self.two = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, classes)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.head(self.two(self.one(self.embed(x.flatten(1)).relu()).relu()).relu())


def build(input_shape, classes):
    return Tied(classes)
"""


def test_tied_weights_move_together(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(TIED)
    scope: dict = {}
    exec(TIED, scope)
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append({name: tensor.clone() for name, tensor in scope["build"]((1, 8, 8), 10).state_dict().items()})
        save_file(states[-1], tmp_path / f"{seed}.safetensors")
    table = bench(network=NetworkSpec(f"{tmp_path / 'nets.py'}:build"), data=DataSpec("digits"))
    ends = [subject(tmp_path / f"{seed}.safetensors") for seed in (0, 1)]
    settings = BarrierSettings(points=3, refine=0, layers=("one",))
    (found,) = Barriers(table, settings).paths(*ends)
    mixed = dict(states[0])
    for name in ("one.weight", "one.bias", "two.weight"):
        mixed[name] = states[1][name]
    setup = table.setup(ends)
    setup.network.load_state_dict(mixed)
    assert found.points[0].results["test"].loss == pytest.approx(evaluate(setup.network, setup.splits["test"]).loss)
    assert found.points[0].results["test"].loss != pytest.approx(found.points[-1].results["test"].loss, rel=1e-4)
