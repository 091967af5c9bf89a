"""Curvature and escape thresholds of runs, against dense float64 matrices made here from the files alone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from landscape_cli.compute.device import placement
from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs.bench import Bench, Sampling
from landscape_cli.jobs.curvature import measure_curvature, plan_curvature
from landscape_cli.jobs.curvature_samples import choose_samples
from landscape_cli.jobs.curvature_stages import CurvatureSettings
from landscape_cli.jobs.escapes import EscapeSettings, measure_escape
from landscape_cli.jobs.pairs import Subject
from landscape_cli.store.locate import locate
from landscape_cli.store.resume import read_state, write_state
from tests.compute.made_curvature import dense_curvature, flat
from tests.conftest import Cli

QUICK = CurvatureSettings(parts=0)


def bench(precision: str = "float64", seed: int = 0, notes: list[str] | None = None, **other) -> Bench:
    return Bench(
        Sampling(("train",), None, None, seed), placement("cpu", precision), statistics=False,
        note=(lambda text: None) if notes is None else notes.append, **other,
    )  # fmt: skip


def subject(parent: Path, time: str = "2ep") -> Subject:
    return Subject(locate(f"{parent}@{time}"))


def loaded(one: Bench, who: Subject, count: int | None, seed: int = 0):
    """The network in place and the sample it is measured on."""
    setup = one.setup([who])
    setup.network.load_state_dict(who.checkpoint.tensors())
    part = choose_samples(setup, "train", count, seed)
    return setup.network, part.normalized(part.inputs), part.labels


def test_the_record_is_that_of_the_dense_hessian(parent: Path) -> None:
    one, who = bench(), subject(parent)
    record = measure_curvature(
        one, who, CurvatureSettings(samples=60, top=3, bottom=1, tolerance=1e-7, trace_products=1500, parts=0)
    )
    net, x, y = loaded(one, who, 60)
    values = torch.linalg.eigvalsh(dense_curvature(net, x, y, "hessian"))
    expected = [*values[-3:].flip(0).tolist(), float(values[0])]
    assert record["eigenvalues"] == pytest.approx(expected, rel=1e-6)
    assert (record["lambda_max"], record["lambda_min"]) == (record["eigenvalues"][0], record["eigenvalues"][-1])
    assert abs(record["trace"] - float(values.sum())) <= 4 * record["trace_error"] + 1e-9
    assert record["loss"] == pytest.approx(float(F.cross_entropy(net(x), y).detach()), rel=1e-12)
    assert record["converged"]
    assert max(record["residuals"][:3]) <= 1e-7
    assert (record["samples"], record["sample_seed"], record["split"]) == (60, 0, "train")
    assert (record["kinks"], record["batch_norm"]) == (["ReLU"], None)
    assert (record["step"], record["epoch"], record["path"]) == (8, 2.0, str(parent))


def test_another_seed_is_another_sample_and_few_images_are_told(parent: Path) -> None:
    notes: list[str] = []
    records = [
        measure_curvature(bench("float32", seed, notes), subject(parent), replace(QUICK, samples=50)) for seed in (0, 1)
    ]
    assert records[0]["lambda_max"] != pytest.approx(records[1]["lambda_max"], rel=1e-3)
    assert records[0]["sample_fingerprint"] != records[1]["sample_fingerprint"]
    assert "λ_max of 50 images depends on which they are" in notes[0]


def test_the_spread_over_parts_is_that_of_disjoint_parts(parent: Path) -> None:
    one, who = bench(), subject(parent)
    record = measure_curvature(one, who, CurvatureSettings(samples=120, parts=3, batch_size=40))
    net, x, y = loaded(one, who, 120)
    expected = [
        float(torch.linalg.eigvalsh(dense_curvature(net, x[k : k + 40], y[k : k + 40], "hessian"))[-1])
        for k in (0, 40, 80)
    ]
    assert record["lambda_max_parts"] == pytest.approx(expected, rel=1e-2)
    assert record["lambda_max_sd"] == pytest.approx(float(torch.tensor(expected).std()), rel=0.1)


def test_what_is_known_is_not_measured_again_and_an_interrupted_job_goes_on(parent: Path) -> None:
    done: list[int] = []
    settings = CurvatureSettings(samples=80, parts=0)
    alone = measure_curvature(bench(), subject(parent), settings)
    asked = replace(settings, trace_products=6, probes=2, steps=5)

    def stop(count: int, of: int) -> None:
        if count > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_curvature(bench(), subject(parent), asked, progress=stop)

    def count_of(these: CurvatureSettings) -> int:
        done.clear()
        found = measure_curvature(bench(), subject(parent), these, progress=lambda count, of: done.append(count))
        assert {name: found[name] for name in alone} == alone
        return len(done)

    assert count_of(asked) == 10  # the density alone: the pairs were known, the trace was done
    assert count_of(asked) == 0
    assert count_of(replace(asked, fresh=True)) == alone["products"] + 16


def test_the_density_in_a_record_integrates_to_one(parent: Path) -> None:
    density = measure_curvature(bench(), subject(parent), replace(QUICK, samples=60, probes=3, steps=8))["density"]
    grid, values = (torch.tensor(density[key], dtype=torch.float64) for key in ("grid", "values"))
    assert float(torch.trapezoid(values, grid)) == pytest.approx(1.0, abs=1e-3)
    assert sum(map(sum, density["weights"])) == pytest.approx(3.0)
    json.loads(json.dumps(density))


def test_overlap_with_the_gradient_centroids_is_that_of_dense_spaces(parent: Path) -> None:
    one, who = bench(), subject(parent)
    record = measure_curvature(one, who, CurvatureSettings(samples=60, parts=0, overlap=True, tolerance=1e-6))
    net, x, y = loaded(one, who, 60)
    _, vectors = torch.linalg.eigh(dense_curvature(net, x, y, "hessian"))
    rows = []
    for k in range(10):
        net.zero_grad()
        net(x)[:, k].mean().backward()
        rows.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    q, _ = torch.linalg.qr(torch.stack(rows).T)
    expected = float((vectors[:, -10:].T @ q).square().sum() / 10)
    assert record["overlap"] == pytest.approx(expected, rel=1e-3)
    assert 10 * record["overlap_expected"] < record["overlap"] <= 1
    assert len(record["eigenvalues"]) == 10


def test_the_plan_counts_products(parent: Path) -> None:
    plan = plan_curvature(bench(), [subject(parent)], CurvatureSettings(samples=100, trace_products=9, probes=2))
    assert (plan["kind"], plan["samples"], plan["products"]) == ("plan", 100, 12 + 9 + 80)
    assert plan["operations"] > 0


def dense_step(parent: Path, net, x: Tensor, y: Tensor, size: int):
    """H, g, and the SGD direction of each minibatch, from the run's files."""
    curvature = dense_curvature(net, x, y, "hessian")
    kept = load_file(parent / "resume" / "step-00000008.safetensors")
    momentum = torch.cat([kept[f"optimizer/{n}/momentum_buffer"].flatten() for n, _ in net.named_parameters()]).double()
    gradients = []
    for start in range(0, len(y) - size + 1, size):
        net.zero_grad()
        F.cross_entropy(net(x[start : start + size]), y[start : start + size]).backward()
        gradients.append(torch.cat([p.grad.flatten().clone() for p in net.parameters()]))
    return curvature, torch.stack(gradients), [0.9 * momentum + g for g in gradients]


def test_escape_is_that_of_the_runs_own_step(parent: Path) -> None:
    one, who = bench(), subject(parent)
    record = measure_escape(one, who, EscapeSettings(minibatches=3, tolerance=1e-6))
    net, x, y = loaded(one, who, None)
    curvature, gradients, steps = dense_step(parent, net, x, y, 64)
    g, eta = gradients.mean(0), 0.1
    each = [float(0.5 * eta**2 * u @ curvature @ u - eta * g @ u) for u in steps[:3]]
    assert record["escape_each"] == pytest.approx(each, rel=1e-6)
    assert record["escape"] == pytest.approx(sum(each) / 3, rel=1e-6)
    bent, slope = (
        sum(float(f) for f in found) for found in zip(*((u @ curvature @ u, g @ u) for u in steps[:3]), strict=True)
    )
    assert record["escape_scale_free"] == pytest.approx(0.5 * eta * bent / slope - 1, rel=1e-6)
    top = float(torch.linalg.eigvalsh(curvature)[-1])
    assert record["escape_gradient_descent"] == pytest.approx(eta * top / 2 - 1, rel=1e-5)
    noises = gradients - g
    assert record["noise_trace"] == pytest.approx(float(noises.square().sum() / 3), rel=1e-6)
    along = float(sum(e @ curvature @ e for e in noises[:3]) / noises[:3].square().sum())
    assert record["noise_curvature"] == pytest.approx(along, rel=1e-6)
    assert record["gradient_curvature"] == pytest.approx(float(g @ curvature @ g / (g @ g)), rel=1e-6)
    assert (record["optimizer"], record["optimizer_state"], record["lr"], record["batch_size"]) == (
        "sgd",
        "kept",
        0.1,
        64,
    )
    assert record["scale_invariant_norm"] is record["effective_lr"] is None


def test_a_missing_optimiser_state_is_told_and_the_step_is_a_first_one(parent: Path) -> None:
    shutil.rmtree(parent / "resume")
    notes: list[str] = []
    record = measure_escape(bench(notes=notes), subject(parent), EscapeSettings(minibatches=2))
    assert record["optimizer_state"] == "missing"
    assert any("its optimiser state was not kept" in note for note in notes)
    fresh = measure_escape(bench(), subject(parent), EscapeSettings(minibatches=2, fresh_optimizer=True))
    assert fresh["escape"] == pytest.approx(record["escape"], rel=1e-12)
    plain = measure_escape(bench(), subject(parent), EscapeSettings(minibatches=2, changes={"momentum": 0.0}))
    assert plain["escape"] == pytest.approx(record["escape"], rel=1e-9)  # a first step has no momentum yet
    assert measure_escape(bench(), subject(parent, "0ep"), EscapeSettings(minibatches=2))["optimizer_state"] == "fresh"


def test_another_optimiser_state_is_another_step(parent: Path) -> None:
    """Runs may share a checkpoint and not what their optimisers held there."""
    quick = EscapeSettings(minibatches=2)
    before = measure_escape(bench(), subject(parent), quick)
    file = parent / "resume" / "step-00000008.safetensors"
    held, _ = read_state(file)
    write_state(file, step=8, optimizer={name: torch.zeros_like(value) for name, value in held.items()})
    after = measure_escape(bench(), subject(parent), quick)
    first = measure_escape(bench(), subject(parent), replace(quick, fresh_optimizer=True))
    assert before["optimizer_state"] == after["optimizer_state"] == "kept"
    assert after["escape"] == pytest.approx(first["escape"], rel=1e-9)
    assert after["escape"] != pytest.approx(before["escape"], rel=1e-2)


def test_escape_under_recomputed_statistics_knows_on_how_many(cli: Cli, tmp_path: Path) -> None:
    words = "train --data digits --network mlp -N widths=8 -N batch_norm=true --train-size 256 --batch-size 64"
    assert cli(*words.split(), "--epochs", 1, "--out", tmp_path / "run", "--device", "cpu").status == 0
    who, found = Subject(locate(str(tmp_path / "run"))), []
    for count in (32, 256):
        one = Bench(Sampling(("train",), None, count, 0), placement("cpu", "float64"))
        found.append(measure_escape(one, who, EscapeSettings(batch_norm="recompute", minibatches=1)))
    assert [record["bn_samples"] for record in found] == [32, 256]
    assert found[0]["loss"] != pytest.approx(found[1]["loss"], rel=1e-6)


def test_what_is_asked_stands_in_place_of_the_runs(parent: Path) -> None:
    record = measure_escape(
        bench(),
        subject(parent),
        EscapeSettings(lr=0.01, changes={"optimizer": "adam", "batch_size": 32}, minibatches=2),
    )
    assert (record["optimizer"], record["lr"], record["batch_size"]) == ("adam", 0.01, 32)
    assert record["optimizer_state"] == "fresh"
    assert record["noise_minibatches"] == 8
    assert record["escape_gradient_descent"] == pytest.approx(0.005 * record["lambda_max"] - 1)


def test_minibatches_larger_than_half_of_the_data_are_refused(parent: Path) -> None:
    with pytest.raises(DataError, match="make 1 minibatches of 200"):
        measure_escape(bench(), subject(parent), EscapeSettings(changes={"batch_size": 200}))


def test_effective_quantities_of_a_network_with_batch_norm(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "normed"
    words = "train --data digits --network resnet20 --width 0.25 --train-size 64 --batch-size 16 --epochs 1 --lr 0.05"
    assert cli(*words.split(), "--augment", "flip", "--out", run, "--device", "cpu", "--threads", "1").status == 0
    who = Subject(locate(str(run)))
    notes: list[str] = []
    record = measure_escape(bench("float32", notes=notes), who, EscapeSettings(minibatches=2))
    weights = who.checkpoint.tensors()
    convolutions = {name for name, value in weights.items() if value.ndim == 4}
    assert set(record["scale_invariant"]) == convolutions
    square = sum(float(weights[name].double().square().sum()) for name in convolutions)
    assert record["scale_invariant_norm"] ** 2 == pytest.approx(square, rel=1e-6)
    assert record["effective_lr"] == pytest.approx(0.05 / square, rel=1e-6)
    assert record["effective_sharpness"] == pytest.approx(record["lambda_max"] * square, rel=1e-6)
    assert (record["batch_norm"], record["augment"]) == ("train", "flip")
    curved = measure_curvature(bench("float32"), who, replace(QUICK, batch_norm="train", products=8, tolerance=0.1))
    assert (curved["batch"], curved["batch_norm"], curved["samples"]) == (16, "train", 64)
    with pytest.raises(UsageError, match="no batch statistics"):
        measure_curvature(bench("float32"), who, replace(QUICK, batch_norm="train", overlap=True))
    assert flat(bench("float32").setup([who]).network).isfinite().all()
