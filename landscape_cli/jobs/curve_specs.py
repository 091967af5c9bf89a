"""What the run of a curve trains: the bends between two states of a network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor, nn

from landscape_cli.compute.weights.curve_choices import CurveForm
from landscape_cli.compute.weights.curves import CurveNetwork, straight
from landscape_cli.compute.weights.interpolation import check_state
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.checkpoints import tensors_hash
from landscape_cli.store.runs import Run

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class CurveSpec(NetworkSpec):
    """A curve between two networks.

    Args:
        form: ``bezier`` or ``chain``.
        bends: Control points between the ends.
        decay: Weight decay of the points.
        first: The content hash of the end at t = 1.
        second: That of the end at t = 0.
        ends: Their states; what they hold is in the hashes.
    """

    form: CurveForm = "bezier"
    bends: int = 1
    decay: float = 0.0
    first: str = ""
    second: str = ""
    ends: tuple[State, State] = field(default=({}, {}), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{super().__str__()} on a {self.form} curve"

    def to_json(self) -> dict[str, Any]:
        """The form it has in ``run.json``."""
        told = {name: getattr(self, name) for name in ("form", "bends", "decay", "first", "second")}
        return {**super().to_json(), "curve": told}


def curve_spec(network: NetworkSpec, ends: tuple[State, State], form: CurveForm, bends: int, decay: float) -> CurveSpec:
    """The spec of a curve between two states of a network."""
    first, second = (tensors_hash(end) for end in ends)
    return CurveSpec(
        network.name, network.options, form=form, bends=bends, decay=decay, first=first, second=second, ends=ends
    )


def curved(network: nn.Module, spec: CurveSpec) -> CurveNetwork:
    """The curve of a spec, its bends on the straight line.

    Raises:
        CheckpointError: If an end does not fit the network.
        NetworkError: If there is no bend.
    """
    own = network.state_dict()
    for state, who in zip(spec.ends, ("the first network", "the second network"), strict=True):
        check_state(own, state, who)
    return CurveNetwork(network, straight(*spec.ends, spec.bends), spec.form, decay=spec.decay)


def controls_of(state: State, bends: int) -> list[dict[str, Tensor]]:
    """The control points in the state of a :class:`CurveNetwork`, the first at t = 1."""
    names = ["first", *(f"bends.{k}" for k in range(bends)), "second"]
    return [
        {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}
        for name in names
    ]


def form_of(run: Run) -> tuple[CurveForm, int]:
    """The form of a curve's run, and how many bends it has."""
    document = run.document["config"]["network"]["curve"]
    return cast(CurveForm, document["form"]), int(document["bends"])
