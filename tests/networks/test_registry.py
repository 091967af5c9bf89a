import itertools
import math
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from landscape_cli import plugins
from landscape_cli.errors import NetworkError, UsageError
from landscape_cli.networks import registry
from landscape_cli.networks.registry import NetworkSpec, build, check_name, resolve

RGB = (3, 32, 32)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        # Sums over the layers the papers list; WRN-16-4 also as Zagoruyko and Komodakis count it (2.7 million).
        ("simple-cnn", 10, 288_298),
        ("resnet20", 10, 269_722),
        ("resnet20", 100, 275_572),
        ("resnet20-nobn", 10, 269_722 - 2 * 688),
        ("wrn-16-4", 10, 2_748_890),
        ("wrn-28-10", 10, 36_479_194),
        ("wrn-40-2", 10, 2_243_546),
        # As Mao et al. state them, or their code prints them.
        ("fc-mao2023", 10, 3_837_066),
        ("allcnn", 10, 399_486),
        ("wrn-10-4-8", 10, 300_226),
        ("wrn-16-4-64", 10, 43_890_122),
        ("convmixer", 10, 594_186),
        ("vit", 10, 9_523_722),
    ],
)
def test_parameter_counts(name: str, classes: int, count: int) -> None:
    with torch.device("meta"):  # shapes without memory
        assert parameters(build(NetworkSpec(name), RGB, classes)) == count


def test_simple_cnn_count_from_the_papers_table() -> None:
    widths = [3, 32, 32, 64, 64, 128, 128]
    convolutions = sum(9 * a * b + b for a, b in itertools.pairwise(widths))
    assert parameters(build(NetworkSpec("simple-cnn"), RGB, 10)) == convolutions + 128 * 10 + 10


FAMILIES = [
    "simple-cnn", "resnet20", "resnet20-nobn", "wrn-10-1", "mlp", "fc-mao2023", "allcnn", "wrn-10-4-8", "convmixer", "vit",
]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28)])
def test_any_image_gives_logits(name: str, shape: tuple[int, ...]) -> None:
    network = build(NetworkSpec(name, {"width": 0.25}), shape, 7).eval()
    assert network(torch.randn(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("name", FAMILIES)
def test_widths(name: str) -> None:
    """Every layer between the inputs and the classes grows with the width; one that would be empty is refused."""
    with torch.device("meta"):
        half, double = (build(NetworkSpec(name, {"width": w}), RGB, 10) for w in (0.5, 2.0))
        with pytest.raises(NetworkError, match=r"width 0\.0001 leaves a layer of \d+ channels empty"):
            build(NetworkSpec(name, {"width": 1e-4}), RGB, 10)
        for width in (math.nan, math.inf):
            with pytest.raises(NetworkError, match=f"width {width} is no multiplier"):
                build(NetworkSpec(name, {"width": width}), RGB, 10)
    shapes = [dict(network.named_parameters()) for network in (half, double)]
    assert shapes[0].keys() == shapes[1].keys()
    for entry, small in shapes[0].items():
        ratios = {b // a for a, b in zip(small.shape, shapes[1][entry].shape, strict=True)}
        assert ratios <= {1, 4}, entry
        assert 4 in ratios or small.shape == (10,), entry


def test_options_come_as_text_and_are_recorded_as_what_they_are() -> None:
    spec = resolve(NetworkSpec("mlp", {"widths": "32,16", "batch_norm": "true", "activation": "tanh", "width": "0.5"}))
    assert spec.options == {"widths": (32, 16), "batch_norm": True, "activation": "tanh", "width": 0.5}
    network = build(spec, (10,), 3)
    assert [m.out_features for m in network.modules() if isinstance(m, nn.Linear)] == [16, 8, 3]
    assert [m.affine for m in network.modules() if isinstance(m, nn.BatchNorm1d)] == [False, False]


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("simplecnn", {}, UsageError, "no network 'simplecnn'"),
        ("simple-cnn", {"depth": "3"}, UsageError, "has no option 'depth'"),
        ("simple-cnn", {"width": "wide"}, UsageError, "'wide' does not fit"),
        ("simple-cnn", {"width": "0.01"}, NetworkError, "empty"),
        ("mlp", {"widths": "0,3"}, NetworkError, "cannot have widths"),
        ("mlp", {"activation": "sine"}, UsageError, "'sine' does not fit"),
        ("wrn-17-4", {}, NetworkError, "depth of a wide resnet"),
        ("wrn-12-4-8", {}, NetworkError, "wrn-12-4-8: the depth of a wide resnet"),
        ("wrn-10-0-8", {}, NetworkError, "its widening 1, 2"),
        ("convmixer", {"kernel": "4"}, NetworkError, "no dim 256, depth 8, kernel 4, patch 2"),
        ("convmixer", {"patch": "64"}, NetworkError, "images of 32×32 hold no patch of 64×64"),
        ("vit", {"patch": "5"}, NetworkError, "images of 32×32 are no whole number of patches of 5×5"),
        ("vit", {"heads": "0"}, NetworkError, "heads 0"),
        ("allcnn", {"depth": "3"}, UsageError, "has no option 'depth'"),
        ("timm:resnet18", {}, UsageError, "needs the package timm"),
        ("torchvision:resnet18", {}, UsageError, "needs the package torchvision"),
        ("no_such_module:build", {}, UsageError, "nor a module 'no_such_module'"),
    ],
)
def test_what_cannot_be_built_is_named(
    name: str, options: dict, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(error, match=message):
        build(NetworkSpec(name, options), RGB, 10)


def test_shapes_that_do_not_fit() -> None:
    for name in ("resnet20", "allcnn", "wrn-10-4-8", "convmixer", "vit"):
        with pytest.raises(NetworkError, match="takes images"):
            build(NetworkSpec(name), (200,), 5)
    with pytest.raises(NetworkError, match="8×8 or more"):
        build(NetworkSpec("simple-cnn"), (1, 7, 7), 5)


def test_own_functions_get_what_they_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def plain(): return nn.Linear(4, 3)\n"
        "def by_name(num_classes, hidden=5): return nn.Sequential(nn.Linear(4, hidden), nn.Linear(hidden, num_classes))\n"
        "def both(input_shape, classes): return nn.Linear(input_shape[0], classes)\n"
        "def positional(k): return nn.Linear(4, k)\n"
        "def no_module(): return 3\n"
        "def breaks(): raise RuntimeError('inside')\n"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "by_name", "both", "positional"):
        for spec in (f"nets:{name}", f"{tmp_path / 'nets.py'}:{name}"):
            assert build(NetworkSpec(spec), (4,), 3)(torch.zeros(1, 4)).shape == (1, 3)
    assert build(NetworkSpec("nets:by_name", {"hidden": "9"}), (4,), 3)[0].out_features == 9
    with pytest.raises(NetworkError, match=r"no torch\.nn\.Module"):
        build(NetworkSpec("nets:no_module"), (4,), 3)
    with pytest.raises(NetworkError, match="RuntimeError: inside"):
        build(NetworkSpec("nets:breaks"), (4,), 3)
    with pytest.raises(UsageError, match=r"missing\.py does not exist"):
        build(NetworkSpec("missing.py:build"), (4,), 3)


def test_timm_gets_shape_and_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def create_model(name: str, **options: object) -> nn.Module:
        asked.update(options, name=name)
        return nn.Flatten()

    fake = types.ModuleType("timm")
    fake.create_model = create_model  # type: ignore[attr-defined]
    fake.is_model = lambda name: name in fake.list_models()  # type: ignore[attr-defined]
    fake.list_models = lambda: ["resnet18", "vit_small_patch16_224"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", fake)
    build(NetworkSpec("timm:vit_small_patch16_224", {"drop_rate": "0.1"}), RGB, 7)
    assert asked == {
        "name": "vit_small_patch16_224", "pretrained": False, "num_classes": 7, "in_chans": 3, "drop_rate": 0.1,
        "img_size": (32, 32),
    }  # fmt: skip
    with pytest.raises(UsageError, match="timm has no network 'resnet19'") as caught:
        build(NetworkSpec("timm:resnet19"), RGB, 7)
    assert "resnet18" in (caught.value.hint or "")
    with pytest.raises(NetworkError, match="not downloaded"):
        build(NetworkSpec("timm:resnet18", {"pretrained": "true"}), RGB, 7)
    with pytest.raises(UsageError, match="timm:resnet18 has no width multiplier"):
        build(NetworkSpec("timm:resnet18", {"width": 0.5}), RGB, 7)


def test_torchvision_gets_classes_and_says_what_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def get_model(name: str, **options: object) -> nn.Module:
        asked.clear()
        asked.update(options, name=name)
        return nn.Flatten()

    fake, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    fake.models = models  # type: ignore[attr-defined]
    models.get_model = get_model  # type: ignore[attr-defined]
    models.list_models = lambda module: ["googlenet", "resnet18", "resnet50", "vit_b_16"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", fake)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    build(NetworkSpec("torchvision:resnet50", {"width_per_group": "128"}), RGB, 7)
    assert asked == {"name": "resnet50", "weights": None, "num_classes": 7, "width_per_group": 128}
    build(NetworkSpec("torchvision:vit_b_16"), (3, 64, 64), 7)
    assert asked == {"name": "vit_b_16", "weights": None, "num_classes": 7, "image_size": 64}
    build(NetworkSpec("torchvision:googlenet"), RGB, 7)
    assert asked["aux_logits"] is False
    with pytest.raises(UsageError, match="torchvision has no network 'resnet5'") as caught:
        build(NetworkSpec("torchvision:resnet5"), RGB, 7)
    assert "resnet50" in (caught.value.hint or "")
    for options, shape, error, message in (
        ({"weights": "DEFAULT"}, RGB, NetworkError, "not downloaded"),
        ({"width": 0.5}, RGB, UsageError, "torchvision:vit_b_16 has no width multiplier"),
        ({}, (1, 28, 28), NetworkError, "takes images of 3 channels, but the data has 1"),
        ({}, (3, 28, 32), NetworkError, "takes square images, not 28×32"),
        ({}, (200,), NetworkError, "takes images"),
    ):
        with pytest.raises(error, match=message):
            build(NetworkSpec("torchvision:vit_b_16", options), shape, 7)


def test_networks_of_torchvision_itself() -> None:
    """Where it is installed: the counts of its documentation, and logits of the data's classes."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:  # the latter from one that was made for another torch
        pytest.skip(f"torchvision cannot be imported: {error}")
    for name, count in (("resnet18", 11_689_512), ("resnet50", 25_557_032)):
        with torch.device("meta"):
            assert parameters(build(NetworkSpec(f"torchvision:{name}"), (3, 224, 224), 1000)) == count
    check_name("torchvision:resnet18")
    network = build(NetworkSpec("torchvision:resnet18"), RGB, 7).eval()
    assert network(torch.randn(2, *RGB)).shape == (2, 7)


def test_a_third_package_registers_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "extensions", lambda group: {"theirs": "landscape_cli.networks.mlp:build"})
    assert "theirs" in registry.names()
    check_name("theirs")
    assert parameters(build(NetworkSpec("theirs", {"widths": "4"}), (2,), 3)) == 2 * 4 + 4 + 4 * 3 + 3


def test_the_zero_padded_shortcut_subsamples_and_pads() -> None:
    from landscape_cli.networks.resnet import Shortcut

    x = torch.arange(2 * 4 * 4, dtype=torch.float32).reshape(1, 2, 4, 4)
    y = Shortcut(2, 4, 2)(x)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert not y[:, [0, 3]].any()
