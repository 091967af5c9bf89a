import itertools
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
    ],
)
def test_parameter_counts(name: str, classes: int, count: int) -> None:
    assert parameters(build(NetworkSpec(name), RGB, classes)) == count


def test_simple_cnn_count_from_the_papers_table() -> None:
    widths = [3, 32, 32, 64, 64, 128, 128]
    convolutions = sum(9 * a * b + b for a, b in itertools.pairwise(widths))
    assert parameters(build(NetworkSpec("simple-cnn"), RGB, 10)) == convolutions + 128 * 10 + 10


@pytest.mark.parametrize("name", ["simple-cnn", "resnet20", "resnet20-nobn", "wrn-10-1", "mlp"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28)])
def test_any_image_gives_logits(name: str, shape: tuple[int, ...]) -> None:
    network = build(NetworkSpec(name, {"width": 0.25}), shape, 7).eval()
    assert network(torch.randn(2, *shape)).shape == (2, 7)


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
        ("timm:resnet18", {}, UsageError, "needs the package timm"),
        ("no_such_module:build", {}, UsageError, "nor a module 'no_such_module'"),
    ],
)
def test_what_cannot_be_built_is_named(
    name: str, options: dict, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(error, match=message):
        build(NetworkSpec(name, options), RGB, 10)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(NetworkError, match="takes images"):
        build(NetworkSpec("resnet20"), (200,), 5)
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
