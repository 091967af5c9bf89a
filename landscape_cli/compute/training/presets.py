"""Named protocols of published work. Knows no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from landscape_cli.errors import UsageError
from landscape_cli.plugins import did_you_mean

FORT = "Fort et al. 2020, Table 1"


@dataclass(frozen=True)
class Preset:
    """A network and a protocol as a paper has them, for a data set.

    Args:
        network: Its name in the registry.
        data: The name of the data set it is meant for.
        classes: That data set's classes.
        settings: Entries of a Protocol that differ from its defaults.
        source: Where this stands.
        axes: Flags of ``train`` whose other values are rows of the same table.
        record: When to record, as ``--checkpoints`` has it.
        rate_follows_batch: Whether another batch size brings its share of the learning rate.
        augmented_epochs: The length of training on augmented images, where it is another.
    """

    network: str
    data: str
    classes: int
    settings: dict[str, Any] = field(default_factory=dict)
    source: str = FORT
    axes: str = ""
    record: str = "auto"
    rate_follows_batch: bool = False
    augmented_epochs: float | None = None

    def changed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings with a person's changes, and what follows from these unless it is given too.

        >>> preset("mao2023-allcnn-sgd").changed({"batch_size": 500})["lr"]
        0.25
        """
        settings = {**self.settings, **given}
        if self.rate_follows_batch and "lr" not in given and settings["batch_size"] > 0:
            settings["lr"] = self.settings["lr"] * settings["batch_size"] / self.settings["batch_size"]
        if self.augmented_epochs is not None and settings["augment"] != "none" and "epochs" not in given:
            settings["epochs"] = self.augmented_epochs
        return settings


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


def _mao(network: str, optimizer: str) -> Preset:
    """One optimiser's corner of the grid: batch 200, no weight decay, no augmentation; plain SGD has no momentum."""
    adam = optimizer == "adam"
    settings = {
        "optimizer": optimizer, "lr": 1e-3 if adam else 0.1, "momentum": 0.0 if optimizer == "sgd" else 0.9,
        "weight_decay": 0.0, "schedule": "cosine", "epochs": 200.0, "batch_size": 200, "augment": "none",
        "prime_bn": 0 if network == "vit" else PRIMED,
    }  # fmt: skip
    return Preset(
        network,
        "cifar10",
        10,
        settings,
        source="Mao et al. 2023",
        axes=f"--batch-size 200|500|1000 --weight-decay 0|{'1e-5' if adam else '1e-3'} --augment none|crop+flip",
        record="mao2023",
        rate_follows_batch=True,
        augmented_epochs=300.0 if network == "fc-mao2023" else None,
    )


def _vetrov(rate: float, *, annealed: bool) -> Preset:
    steps = {"schedule": "step", "milestones": (30.0,), "factor": 0.04} if annealed else {"schedule": "constant"}
    settings = {
        "optimizer": "nesterov", "lr": rate, "momentum": 0.9, "weight_decay": 5e-4, "epochs": 60.0, "batch_size": 128,
        "augment": "none", **steps,
    }  # fmt: skip
    return Preset(
        "wrn-16-10",
        "cifar10",
        10,
        settings,
        source="Vetrov's lecture, after Li et al. 2019",
        axes="--data patches:cifar10:DIR",
        record="every:1ep",
    )


PRIMED = 5  # batches before step 0: the paper says that statistics settle within 5–10

# Fort et al.'s table leaves out the batch size (128 here, He et al.'s) and the augmentation (crop and flip here, which
# the error rates in its figures need); both can be set beside a preset.
PRESETS: dict[str, Preset] = {
    "fort2020-resnet20-cifar10": Preset("resnet20", "cifar10", 10, _sgd(1e-4, 0.1, (80, 120), 160)),
    "fort2020-resnet20-cifar100": Preset("resnet20", "cifar100", 100, _sgd(1e-4, 0.1, (60, 120, 160), 200)),
    "fort2020-simple-cnn-cifar10": Preset("simple-cnn", "cifar10", 10, _adam(1e-4, (), 100)),
    "fort2020-resnet20-nobn-cifar10": Preset("resnet20-nobn", "cifar10", 10, _adam(0.0, (80, 120), 160)),
    "fort2020-resnet20-nobn-cifar100": Preset("resnet20-nobn", "cifar100", 100, _adam(0.0, (80, 120), 160)),
    "fort2020-wrn-16-4-cifar10": Preset("wrn-16-4", "cifar10", 10, _sgd(5e-4, 0.2, (60, 120), 160)),
    "fort2020-wrn-16-4-cifar100": Preset("wrn-16-4", "cifar100", 100, _sgd(5e-4, 0.2, (60, 120), 160)),
}
# Mao et al.'s grid would be 216 names: each network and optimiser is one, the other axes are flags beside it.
PRESETS |= {
    f"mao2023-{network.removesuffix('-mao2023')}-{optimizer}": _mao(network, optimizer)
    for network in ("fc-mao2023", "allcnn", "wrn-10-4-8", "wrn-16-4-64", "convmixer", "vit")
    for optimizer in ("sgd", "nesterov", "adam")
}

# The lecture shows curves and no number. All numbers are Li, Wei and Ma's (arXiv:1907.04595, patch experiment) as their
# published code has them: WRN-16-10, Nesterov SGD, 60 epochs without augmentation, and a small rate that is the large
# one after annealing, 0.1 · 0.04. Their code anneals as the 30th epoch begins, the text after 30, as here. They show no
# large rate without annealing beyond that point; the lecture speaks of one.
PRESETS |= {
    "vetrov-small-lr": _vetrov(0.004, annealed=False),
    "vetrov-large-lr": _vetrov(0.1, annealed=False),
    "vetrov-annealed-lr": _vetrov(0.1, annealed=True),
}


def preset(name: str) -> Preset:
    """Look a preset up.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset '{name}'", did_you_mean(name, PRESETS))
    return PRESETS[name]
