"""A sweep file means a list of runs: counted by hand, by itertools, and by what every list of runs must hold."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_cli.errors import UsageError
from landscape_cli.jobs.sweep_settings import SETTINGS, effective
from landscape_cli.jobs.sweeps import expand, parse_sweep, read_sweep, shard, with_changes
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples" / "sweeps"
BASE: dict[str, Any] = {"fixed": {"network": "mlp", "data": "digits"}}


def runs(document: dict[str, Any], *changes: str) -> list[Any]:
    return expand(with_changes(parse_sweep(BASE | document, "grid.toml"), changes))


def test_a_grid_is_the_product_of_its_axes_the_first_the_slowest() -> None:
    grid = {"optimizer": ["sgd", "adam"], "lr": [0.1, 1], "seed": "0..2"}
    found = runs({"grid": grid})
    wanted = list(itertools.product(["sgd", "adam"], [0.1, 1.0], [0, 1, 2]))
    assert [(r.settings["optimizer"], r.settings["lr"], r.settings["seed"]) for r in found] == wanted
    assert [r.name for r in found[:4]] == ["sgd-lr0.1-seed0", "sgd-lr0.1-seed1", "sgd-lr0.1-seed2", "sgd-lr1-seed0"]
    assert all(r.settings["data"] == "digits" for r in found)


def test_cases_belong_together_rules_change_and_filters_leave_out() -> None:
    document = {
        "name": "{optimizer}-{batch_size}-{lr}-{seed}",
        "grid": {"seed": [3, 4]},
        "cases": [
            {"optimizer": ["sgd", "nesterov"], "batch_size": 50, "lr": [0.1, 0.2]},
            {"optimizer": "adam", "batch-size": 100, "lr": 0.01},
        ],
        "when": [
            {"if": {"optimizer": ["adam", "adamw"]}, "set": {"epochs": 7}},
            {"if": {"epochs": 7, "seed": 4}, "set": {"lr": 0.02}},  # sees what the first one changed
        ],
        "exclude": [{"optimizer": "nesterov", "lr": 0.2}],
        "where": "not (seed == 3 and lr == 0.2) and batch_size > 10",
    }
    assert [r.name for r in runs(document)] == [
        "sgd-50-0.1-3", "nesterov-50-0.1-3", "adam-100-0.01-3",
        "sgd-50-0.1-4", "sgd-50-0.2-4", "nesterov-50-0.1-4", "adam-100-0.02-4",
    ]  # fmt: skip
    assert [r.settings.get("epochs") for r in runs(document)] == [None, None, 7.0, None, None, None, 7.0]


def test_settings_from_the_command_line_go_over_the_file() -> None:
    document = {"grid": {"lr": [0.1, 0.2], "seed": [0, 1]}}
    assert len(runs(document, "seed=0..4")) == 10
    assert len(runs(document, "lr=[0.1, 0.2, 0.3]", "seed=7")) == 3
    (run, *_) = runs(document, "data=npz:mine.npz", "epochs=2", "schedule=cosine", 'network="simple-cnn"')
    values = effective(run.settings)
    assert (values["data"], values["epochs"], values["schedule"]) == ("npz:mine.npz", 2.0, "cosine")
    assert values["network"] == "simple-cnn"
    with pytest.raises(UsageError, match=r"the \[\[cases\]\] of grid.toml give it"):
        runs({"cases": [{"lr": 0.1}]}, "lr=0.2")
    with pytest.raises(UsageError, match=r"--set lrr=0\.2: a run has no setting 'lrr'"):
        runs(document, "lrr=0.2")


def test_a_preset_stands_under_what_is_set() -> None:
    preset = {"preset": "fort2020-resnet20-cifar10"}
    table, changed = effective(preset), effective(preset | {"schedule": "cosine", "epochs": 2.0})
    assert (table["network"], table["weight-decay"], table["milestones"]) == ("resnet20", 1e-4, (80, 120))
    assert (changed["schedule"], changed["milestones"], changed["epochs"], changed["lr"]) == ("cosine", (), 2.0, 0.1)


def test_every_option_of_a_protocol_and_of_data_is_an_axis() -> None:
    from landscape_cli.compute.training.protocol import Protocol

    assert {name.replace("_", "-") for name in Protocol().to_json()} <= SETTINGS.keys()
    assert {"data", "data-option", "train-size", "label-noise", "data-seed"} <= SETTINGS.keys()


def test_lists_and_tables_as_values() -> None:
    document = {"grid": {"milestones": ["1,2", [1]], "network-option": [{"widths": [8]}, "widths=16,8"]}}
    document["fixed"] = BASE["fixed"] | {"schedule": "step", "train-size": "none"}
    found = runs(document)
    assert [r.settings["milestones"] for r in found[::2]] == [(1.0, 2.0), (1.0,)]
    assert [r.settings["network-option"] for r in found[:2]] == [{"widths": [8]}, {"widths": "16,8"}]
    assert found[0].name == "milestones1,2-widths=8"
    assert found[0].settings["train-size"] is None


AXES = st.dictionaries(
    st.sampled_from(["lr", "momentum", "weight-decay", "label-smoothing"]),
    st.lists(st.integers(1, 99).map(lambda n: n / 100), min_size=1, max_size=3, unique=True),
    max_size=3,
)


@settings(max_examples=60, deadline=None)
@given(AXES, st.integers(1, 4), st.integers(1, 7))
def test_shards_are_a_partition_names_are_unique_and_the_order_is_stable(grid: Any, seeds: int, parts: int) -> None:
    document = {"grid": grid | {"seed": list(range(seeds))}}
    found = runs(document)
    size = seeds
    for values in grid.values():
        size *= len(values)
    assert len(found) == size
    assert len({r.name for r in found}) == size
    assert [r.name for r in runs(document)] == [r.name for r in found]
    if parts > size:
        with pytest.raises(UsageError, match="has no"):
            shard(found, (1, parts))
        return
    pieces = [shard(found, (i + 1, parts)) for i in range(parts)]
    assert sorted(r.name for piece in pieces for r in piece) == sorted(r.name for r in found)
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1
    assert [piece[0].name for piece in pieces] == [r.name for r in found[:parts]]


ERRORS: list[tuple[dict[str, Any], str, str]] = [
    ({"grid": {"optimiser": ["sgd"]}}, r"\[grid\]: a run has no setting 'optimiser'", "did you mean 'optimizer'"),
    ({"fixed": {"epoch": 3}}, r"\[fixed\]: a run has no setting 'epoch'", "did you mean 'epochs'"),
    ({"grids": {}}, "a sweep has no entry 'grids'", "did you mean 'grid'"),
    ({"lr": [0.1]}, "a sweep has no entry 'lr'", r"axes under \[grid\]"),
    ({"grid": {"lr": []}}, "lr has no values", "leave it out"),
    ({"grid": {"lr": [0.1, 0.1]}}, "lr has 0.1 twice", "once"),
    ({"grid": {"lr": ["fast"]}}, "lr is a number, not 'fast'", ""),
    ({"grid": {"seed": [True]}}, "seed is a whole number, not True", ""),
    ({"grid": {"seed": "3..1"}}, "runs backwards", r"1\.\.3"),
    ({"grid": {"optimizer": ["sdg"]}}, "not 'sdg'", "did you mean 'sgd'"),
    ({"fixed": BASE["fixed"] | {"lr": [0.1]}}, "lr is a list", r"\[grid\]"),
    ({"grid": {"batch-size": [8], "batch_size": [8]}}, "stands there twice", ""),
    ({"grid": {"network": ["mlp"]}}, r"network stands in \[fixed\] and in \[grid\]", "one place"),
    ({"grid": {"seed": [0]}, "exclude": [{"seed": 0}]}, "is an empty sweep: its filters leave none of 1 runs", ""),
    ({"grid": {"seed": [0, 1]}, "name": "same"}, "two runs would be called same: seed is 0 and 1", r"\{seed\}"),
    ({"cases": [{"lr": 0.1}, {"lr": 0.1}]}, "two runs are the same", "twice"),
    ({"name": "{sed}"}, "name: a run has no setting 'sed'", "seed"),
    ({"name": "{seed"}, "is no pattern", ""),
    ({"name": "a/{seed}"}, "is no name for a run", ""),
    ({"when": [{"if": {"lr": 1}}]}, "has an 'if' and a 'set'", ""),
    ({"where": "lr <"}, "is no condition", ""),
    ({"where": "rate > 1"}, "a run has no setting 'rate'", ""),
    ({"grid": [1]}, r"\[grid\] is a table", ""),
    ({"cases": {"lr": 1}}, "cases is a list of tables", ""),
]  # fmt: skip


@pytest.mark.parametrize(("document", "message", "hint"), ERRORS, ids=lambda v: v if isinstance(v, str) else "")
def test_what_is_wrong_is_named(document: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        runs(document)
    assert re.search(hint, caught.value.hint or "")


def test_an_unreadable_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text('[fixed]\ndata = "digits"\nlr = = 1\n')
    with pytest.raises(UsageError, match=r"grid.toml is no TOML file: .*line 3"):
        read_sweep(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_sweep(file)
    with pytest.raises(UsageError, match="No such file"):
        read_sweep(tmp_path / "nowhere.toml")


def test_the_grid_of_mao_et_al() -> None:
    """Six networks, 360 runs each; the rates follow the batch as METHODS §4 has them."""
    found = [effective(run.settings) for run in expand(read_sweep(EXAMPLES / "mao2023.toml"))]
    assert len(found) == 6 * 3 * 3 * 2 * 2 * 10 == 2160
    for name in ("fc-mao2023", "allcnn", "wrn-10-4-8", "wrn-16-4-64", "convmixer", "vit"):
        own = [values for values in found if values["network"] == name]
        assert len(own) == 360
        assert len({(v["optimizer"], v["batch-size"], v["weight-decay"], v["augment"], v["seed"]) for v in own}) == 360
    for values in found:
        adam = values["optimizer"] == "adam"
        assert values["lr"] == pytest.approx((0.001 if adam else 0.1) * values["batch-size"] / 200, rel=1e-12)
        assert values["weight-decay"] in ((0, 1e-5) if adam else (0, 1e-3))
        assert values["momentum"] == (0.0 if values["optimizer"] == "sgd" else 0.9)
        longer = values["network"] == "fc-mao2023" and values["augment"] == "crop+flip"
        assert values["epochs"] == (300 if longer else 200)
        assert (values["schedule"], values["checkpoints"]) == ("cosine", "mao2023")
        assert 42 <= values["seed"] <= 51


def test_table_1_of_fort_et_al() -> None:
    from landscape_cli.compute.training.presets import preset

    found = expand(read_sweep(EXAMPLES / "fort2020-table1.toml"))
    assert len(found) == 3 * 7
    assert {run.settings["preset"] for run in found} == {
        f"fort2020-{row}"
        for row in (
            "resnet20-cifar10", "resnet20-cifar100", "simple-cnn-cifar10", "resnet20-nobn-cifar10",
            "resnet20-nobn-cifar100", "wrn-16-4-cifar10", "wrn-16-4-cifar100",
        )
    }  # fmt: skip
    for run in found:
        assert preset(run.settings["preset"]).data == run.settings["data"].partition(":")[0]


def test_the_small_sweep_is_small() -> None:
    found = expand(read_sweep(EXAMPLES / "digits.toml"))
    assert len(found) == 2 * (2 * 3 - 1)
    assert len(expand(read_sweep(EXAMPLES / "digits.toml", ["seed=0"]))) == 5


def test_the_synthetic_students_of_mao_et_al() -> None:
    """App. E: 160 configurations of each data set; the students of METHODS §4."""
    from landscape_cli.networks.registry import NetworkSpec, build

    found = [effective(run.settings) for run in expand(read_sweep(EXAMPLES / "mao2023-synthetic.toml"))]
    assert len(found) == 2 * 160
    assert {values["data"] for values in found} == {"synthetic:sloppy", "synthetic:isotropic"}
    for name in ("synthetic:sloppy", "synthetic:isotropic"):
        own = [values for values in found if values["data"] == name]
        keys = ("optimizer", "batch-size", "weight-decay", "seed")
        assert len({(*(v[key] for key in keys), str(v["network-option"])) for v in own}) == len(own) == 160
        assert {tuple(v["network-option"]["widths"]) for v in own} == {(512,), (512, 512)}
    for values in found:
        assert values["lr"] == pytest.approx(0.1 * values["batch-size"] / 200)
        assert values["momentum"] == (0.9 if values["optimizer"] == "nesterov" else 0.0)
    counts = {
        tuple(o["widths"]): sum(p.numel() for p in build(NetworkSpec("mlp", o), (200,), 5).parameters())
        for o in (v["network-option"] for v in found[:160])
    }
    assert counts == {(512,): 201 * 512 + 513 * 5, (512, 512): 201 * 512 + 513 * 512 + 513 * 5}
    layers = [type(layer).__name__ for layer in build(NetworkSpec("mlp", found[0]["network-option"]), (200,), 5)]
    assert layers == ["Flatten", "Linear", "ReLU", "BatchNorm1d", "Linear"]


def test_the_corners_of_mao_et_al() -> None:
    found = [effective(run.settings) for run in expand(read_sweep(EXAMPLES / "mao2023-corners.toml"))]
    assert len(found) == 2 * 10 * 200
    for corner in range(10):
        own = [values for values in found if values["init"] == f"corners:{corner}"]
        assert len(own) == 2 * 200
        assert len({(v["data"], v["optimizer"], v["weight-decay"], v["seed"]) for v in own}) == 400
    assert {values["batch-size"] for values in found} == {100}
