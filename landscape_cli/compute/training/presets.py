"""Named protocols of published work. Knows no torch."""

from dataclasses import dataclass, field
from typing import Any

from landscape_cli.errors import UsageError
from landscape_cli.plugins import did_you_mean


@dataclass(frozen=True)
class Preset:
    """A network and a protocol as a paper has them, for a data set.

    Args:
        network: Its name in the registry.
        data: The name of the data set it is meant for.
        classes: That data set's classes.
        settings: Entries of a Protocol that differ from its defaults.
        source: Where this stands.
    """

    network: str
    data: str
    classes: int
    settings: dict[str, Any] = field(default_factory=dict)
    source: str = "Fort et al. 2020, Table 1"


def _sgd(decay: float, factor: float, milestones: tuple[float, ...], epochs: float) -> dict[str, Any]:
    return {
        "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": decay, "schedule": "step", "factor": factor,
        "milestones": milestones, "epochs": epochs, "batch_size": 128, "augment": "crop+flip",
    }  # fmt: skip


def _adam(decay: float, milestones: tuple[float, ...], epochs: float) -> dict[str, Any]:
    steps = {"schedule": "step", "factor": 0.1, "milestones": milestones} if milestones else {"schedule": "constant"}
    return {
        "optimizer": "adam", "lr": 1e-3, "weight_decay": decay, "epochs": epochs, "batch_size": 128,
        "augment": "crop+flip", **steps,
    }  # fmt: skip


# The table leaves out the batch size (128 here, He et al.'s) and the augmentation (crop and flip here, which the
# error rates in its figures need); both can be set beside a preset.
PRESETS: dict[str, Preset] = {
    "fort2020-resnet20-cifar10": Preset("resnet20", "cifar10", 10, _sgd(1e-4, 0.1, (80, 120), 160)),
    "fort2020-resnet20-cifar100": Preset("resnet20", "cifar100", 100, _sgd(1e-4, 0.1, (60, 120, 160), 200)),
    "fort2020-simple-cnn-cifar10": Preset("simple-cnn", "cifar10", 10, _adam(1e-4, (), 100)),
    "fort2020-resnet20-nobn-cifar10": Preset("resnet20-nobn", "cifar10", 10, _adam(0.0, (80, 120), 160)),
    "fort2020-resnet20-nobn-cifar100": Preset("resnet20-nobn", "cifar100", 100, _adam(0.0, (80, 120), 160)),
    "fort2020-wrn-16-4-cifar10": Preset("wrn-16-4", "cifar10", 10, _sgd(5e-4, 0.2, (60, 120), 160)),
    "fort2020-wrn-16-4-cifar100": Preset("wrn-16-4", "cifar100", 100, _sgd(5e-4, 0.2, (60, 120), 160)),
}


def preset(name: str) -> Preset:
    """Look a preset up.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset '{name}'", did_you_mean(name, PRESETS))
    return PRESETS[name]
