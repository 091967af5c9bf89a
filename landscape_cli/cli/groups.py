"""Options that come together: declared once as the fields of a class, taken by a command as one parameter."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from landscape_cli.cli import inputs, options
from landscape_cli.cli.output import Output
from landscape_cli.compute.choices import Precision
from landscape_cli.datasets.registry import DataSpec
from landscape_cli.networks.registry import NetworkSpec

if TYPE_CHECKING:
    from landscape_cli.compute.device import Placement


@dataclass(frozen=True)
class NetworkAndData:
    """What foreign checkpoints do not say of themselves."""

    network: options.Network = None
    network_option: options.NetworkOption = None
    width: options.Width = None
    data: options.Data = None
    data_option: options.DataOption = None

    def specs(self) -> tuple[NetworkSpec | None, DataSpec | None]:
        """The network and the data that a person names, each None if none.

        Raises:
            UsageError: If a name is unknown or an option is no KEY=VALUE.
        """
        network = inputs.network_spec(self.network, self.network_option, self.width)
        return network, inputs.data_spec(self.data, self.data_option)


@dataclass(frozen=True)
class Computing:
    """Where, how exactly and by which draws something is computed."""

    seed: options.Seed = 0
    device: options.Device = "auto"
    precision: options.PrecisionOption = "float32"
    threads: options.Threads = None

    def placement(self, precision: Precision | None = None) -> "Placement":
        """The device with the precision of the networks (by default the one asked for); sets the CPU threads too.

        Raises:
            DeviceError: If the device is not there, or cannot do the precision.
        """
        from landscape_cli.compute.device import placement, set_threads

        set_threads(self.threads)
        return placement(self.device, precision or self.precision)


@dataclass(frozen=True)
class Shown:
    """How results and progress are shown, and what may be overwritten."""

    force: options.Force = False
    format: options.FormatOption = "auto"
    quiet: options.Quiet = False
    no_progress: options.NoProgress = False
    config: options.Config = None

    def output(self, columns: Sequence[tuple[str, str]], keep: Path | None = None) -> Output:
        """Where the records of a command go."""
        return Output(self.format, self.quiet, not self.no_progress, columns, keep=keep, force=self.force)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are classes of options become those options, in their place.

    >>> @grouped
    ... def command(runs: list[str], *, shown: Shown) -> None:
    ...     print(runs, shown.quiet)
    >>> list(inspect.signature(command).parameters)
    ['runs', 'force', 'format', 'quiet', 'no_progress', 'config']
    >>> command(runs=["a"], quiet=True)
    ['a'] True

    Raises:
        TypeError: If two options have one name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type, list[str]]] = {}
    flat: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not (isinstance(kind, type) and is_dataclass(kind)):
            flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind))
            continue
        own = get_type_hints(kind, include_extras=True)
        groups[parameter.name] = kind, [entry.name for entry in fields(kind)]
        for entry in fields(kind):
            default = inspect.Parameter.empty if entry.default is MISSING else entry.default
            flat.append(
                inspect.Parameter(
                    entry.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=own[entry.name]
                )
            )
    names = [parameter.name for parameter in flat]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"options of one name: {', '.join(sorted(repeated))}")

    @functools.wraps(command)
    def ungrouped(**given: Any) -> None:
        for name, (kind, members) in groups.items():
            given[name] = kind(**{member: given.pop(member) for member in members if member in given})
        command(**given)

    ungrouped.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    ungrouped.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return ungrouped
