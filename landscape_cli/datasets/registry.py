"""Data sets by name: ``digits``, ``cifar10:DIR``, ``npz:FILE``, ``module:function``; and what is done to them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from landscape_cli import plugins
from landscape_cli.datasets.dataset import DataSet, Normalization, channel_statistics
from landscape_cli.datasets.transforms import TRUE_LABELS, flip_labels, parse_labels, replace_labels, take_balanced
from landscape_cli.errors import DataError, UsageError

GROUP = "landscape.datasets"

SOURCES = {
    "digits": "landscape_cli.datasets.digits:load",
    "synthetic": "landscape_cli.datasets.synthetic:load",
    "cifar10": "landscape_cli.datasets.cifar:load_cifar10",
    "cifar100": "landscape_cli.datasets.cifar:load_cifar100",
    "fashion-mnist": "landscape_cli.datasets.idx:load_fashion_mnist",
    "mnist": "landscape_cli.datasets.idx:load_mnist",
    "npz": "landscape_cli.datasets.npz:load",
    "imagefolder": "landscape_cli.datasets.imagefolder:load",
    "patches": "landscape_cli.datasets.patches:load",
}
EXAMPLES = (
    "digits", "synthetic:sloppy", "synthetic:isotropic", "cifar10:DIR", "cifar100:DIR", "fashion-mnist:DIR",
    "mnist:DIR", "npz:FILE", "imagefolder:DIR", "patches:NAME", "module:function", "file.py:function",
)  # fmt: skip
WITH_PATH = {"cifar10", "cifar100", "fashion-mnist", "mnist", "npz", "imagefolder"}


@dataclass(frozen=True)
class DataSpec:
    """A data set as asked for on the command line or recorded in a run.

    Args:
        source: ``name`` or ``name:argument``.
        options: The loader's options, and ``normalize``, ``mean``, ``std`` for any of them.
        train_size: Train on a class-balanced subset of this many samples.
        label_noise: The share of training labels replaced by another class.
        seed: Of the subset and of the noise.
        labels: The training labels: ``true``, ``random:SEED`` or ``permuted:SEED``. The subset is taken by the true
            labels before they are replaced; noise comes last.
    """

    source: str
    options: dict[str, Any] = field(default_factory=dict)
    train_size: int | None = None
    label_noise: float = 0.0
    seed: int = 0
    labels: str = TRUE_LABELS

    def __post_init__(self) -> None:
        parse_labels(self.labels)

    def to_json(self) -> dict[str, Any]:
        """The form it has in ``run.json``; true labels have no entry there, as in runs older than the choice."""
        document = {
            "source": self.source,
            "options": self.options,
            "train_size": self.train_size,
            "label_noise": self.label_noise,
            "seed": self.seed,
        }
        return document if self.labels == TRUE_LABELS else document | {"labels": self.labels}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "DataSpec":
        """Read it back from ``run.json``."""
        first = {key: document[key] for key in ("source", "options", "train_size", "label_noise", "seed")}
        return cls(**first, labels=document.get("labels", TRUE_LABELS))

    @property
    def base(self) -> str:
        """The source that stands behind ``patches:``, else the source."""
        return self.source.removeprefix(plugins.OVER_ANOTHER)

    @property
    def plain(self) -> bool:
        """Whether it is the whole training part with its own labels."""
        return self.train_size is None and not self.label_noise and self.labels == TRUE_LABELS

    def absolute(self) -> "DataSpec":
        """The same with an absolute path, so that a run finds its data from anywhere."""
        if self.base != self.source:
            return replace(self, source=plugins.OVER_ANOTHER + replace(self, source=self.base).absolute().source)
        name, colon, argument = self.source.partition(":")
        if name in WITH_PATH and colon:
            return replace(self, source=f"{name}:{Path(argument).expanduser().resolve()}")
        return self


def names() -> list[str]:
    """All names a data set can have on the command line, this package's and registered ones."""
    return [*EXAMPLES, *plugins.extensions(GROUP)]


def load(spec: DataSpec) -> DataSet:
    """Load a data set and apply what the spec asks for.

    Raises:
        UsageError: If the name is unknown, or an option does not fit.
        DataError: If its files are missing or damaged.
    """
    options = dict(spec.options)
    mean, std, normalize = (options.pop(key, None) for key in ("mean", "std", "normalize"))
    data = load_source(spec.source, options)
    data = replace(data, normalization=_normalization(data, mean, std, normalize))
    if spec.train_size is not None:
        data = data.with_train(take_balanced(data.train, spec.train_size, data.classes, spec.seed))
    data = data.with_train(replace_labels(data.train, spec.labels, data.classes))
    if spec.label_noise:
        data = data.with_train(flip_labels(data.train, spec.label_noise, data.classes, spec.seed))
    return data


def load_source(source: str, options: dict[str, Any]) -> DataSet:
    """A data set as its loader gives it.

    Raises:
        UsageError: If the name is unknown, or an option does not fit.
        DataError: If its files are missing or damaged.
    """
    name, colon, argument = source.partition(":")
    known = SOURCES | plugins.extensions(GROUP)
    if name in known:
        loader = plugins.load_code(known[name], what="data set")
        return _call(loader, argument if colon else None, options, source)
    if plugins.is_code(source):
        from landscape_cli.datasets.own import adopt

        function = plugins.load_code(source, what="data set", known=names())
        bound = plugins.bind(function, options, what=source)
        try:
            value = function(**bound)
        except Exception as error:
            hint = "LANDSCAPE_DEBUG=1 shows where"
            raise DataError(f"{source} raised {type(error).__name__}: {error}", hint) from error
        return adopt(value, source)
    raise UsageError(f"there is no data set '{source}'", plugins.did_you_mean(source, names()))


def _call(loader: Callable[..., DataSet], argument: str | None, options: dict[str, Any], source: str) -> DataSet:
    name = source.partition(":")[0]
    if name in WITH_PATH and not argument:
        raise UsageError(f"data set '{name}' needs a path", f"write {name}:PATH")
    return loader(argument, **plugins.bind(loader, options, what=f"data set '{name}'"))


def _normalization(data: DataSet, mean: Any, std: Any, normalize: Any) -> Normalization | None:
    if normalize not in (None, "none", "channel"):
        raise UsageError(f"normalize '{normalize}' is unknown", "it is none or channel")
    if (mean is None) != (std is None) or (mean is not None and normalize is not None):
        raise UsageError(
            "mean and std come together, and without normalize",
            "as in -D mean=0.5,0.5,0.5 -D std=0.25,0.25,0.25",
        )
    if mean is not None:
        chosen = Normalization(_numbers(mean), _numbers(std))
        if len(chosen.mean) != data.input_shape[0] or len(chosen.std) != data.input_shape[0]:
            raise DataError(f"{data.name} has {data.input_shape[0]} channels, mean and std have another number")
        if not all(value > 0 for value in chosen.std):
            raise UsageError("std must be above zero")
        return chosen
    if normalize == "none":
        return None
    if normalize == "channel" and data.normalization is None:
        inputs = data.train.inputs
        return channel_statistics(inputs if inputs.ndim == 4 else inputs[:, :, None, None])
    return data.normalization


def _numbers(text: Any) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text.split(",") if isinstance(text, str) else text))
    except (ValueError, TypeError):
        raise UsageError(f"'{text}' is no list of numbers") from None
