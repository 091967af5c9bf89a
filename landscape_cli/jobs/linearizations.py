"""What a linearised run trains: the Taylor polynomial of a network around weights that are kept with the run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import nn

from landscape_cli.compute.tangent.linearized import LinearizedNetwork, Order
from landscape_cli.compute.weights.interpolation import check_state
from landscape_cli.errors import CheckpointError
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.checkpoints import read_header, read_tensors, tensors_hash
from landscape_cli.store.runs import Run, first_step


@dataclass(frozen=True)
class LinearizedSpec(NetworkSpec):
    """A network linearised around the weights of a content hash.

    Args:
        order: Of the polynomial.
        base: The hash of w̃.
        places: Files that may hold w̃, the nearest first; where they lie is no difference between two specs.
    """

    order: Order = 1
    base: str = ""
    places: tuple[Path, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{super().__str__()} linearised to order {self.order} at {self.base[:12]}"

    def to_json(self) -> dict[str, Any]:
        """The form it has in ``run.json``."""
        return {**super().to_json(), "linearized": {"order": self.order, "hash": self.base}}


def linearized_spec(run: Run, spec: NetworkSpec) -> NetworkSpec:
    """What a run with this network holds: the network, or its polynomial if the run is a linearised one.

    The first checkpoint of a linearised run is its base; the parent's checkpoint, if it is still there, is another
    copy.
    """
    lineage = run.lineage or {}
    linearized = lineage.get("linearized")
    if not linearized:
        return spec
    places = [run.checkpoint(first_step(lineage)).path]
    if run.parent is not None:
        places.append(Run(run.parent, {}).checkpoint(int(lineage["step"])).path)
    return LinearizedSpec(
        spec.name,
        spec.options,
        order=cast(Order, int(linearized["order"])),
        base=str(linearized["hash"]),
        places=tuple(places),
    )


def linearize(network: nn.Module, spec: LinearizedSpec) -> LinearizedNetwork:
    """The polynomial of a network around the base of a spec, at the base.

    Raises:
        CheckpointError: If the base is gone, or does not fit the network.
        NetworkError: If the network cannot be linearised.
    """
    for place in spec.places:
        if not place.exists() or read_header(place).landscape.get("hash") != spec.base:
            continue
        state = read_tensors([place])
        if tensors_hash(state) == spec.base:
            check_state(network.state_dict(), state, str(place))
            return LinearizedNetwork(network, state, order=spec.order)
    raise CheckpointError(
        f"the weights that a run was linearised around are gone: {' and '.join(map(str, spec.places))}",
        "bring one of the two back; a linearised run needs its first checkpoint",
    )
