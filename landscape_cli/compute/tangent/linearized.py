"""A network replaced by its Taylor polynomial around weights w̃ (Fort et al. 2020, section 2; Bai et al. 2020)."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape_cli.compute.named_tensors import home_of
from landscape_cli.compute.tangent import jet_rules  # noqa: F401 - registers the rules
from landscape_cli.compute.tangent.jets import (
    Substituting,
    UnsupportedError,
    coefficients,
    forward_derivative,
    make_jet,
    total,
)
from landscape_cli.errors import NetworkError

Order = Literal[1, 2]
Method = Literal["jets", "general"]
Coefficients = tuple[Tensor, Tensor | None, Tensor | None]

PROBED = 2  # samples on which a network's derivatives are checked before they are used
TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-2}  # of that check: a wrong derivative is off by much more


class LinearizedNetwork(nn.Module):
    """Taylorised logits as a module whose parameters are the weights w, under the network's own names.

    Order 1: ``f(x; w̃) + J(x; w̃)(w − w̃)``; order 2 adds ``½ (w − w̃)ᵀ ∇²f(x; w̃) (w − w̃)``. At w = w̃ these are the
    network's own logits to the last bit. The gradient with respect to w is autograd's own: order 1 ``J(x; w̃)ᵀ g``,
    order 2 ``J(x; w̃)ᵀ g + ∇²(gᵀf)(w − w̃)``, where g is the gradient with respect to the logits.

    The module holds w as parameters (frozen where the network's are) and a copy of the persistent buffers, so that
    its ``state_dict`` is one of the network; it holds no layers. The network itself always runs in evaluation mode at
    w̃: batch norm uses the running statistics of w̃ and changes none, dropout is off.

    Cost, in products of the network's forward pass F, beside 3 F of an ordinary training step: a forward pass 3 F
    (order 2: 5 F), a training step 5 F (order 2: 10 F). Memory: two networks, and two (three) sets of activations.

    Before it is first used, the derivatives along a random direction are compared on two samples with what reverse
    differentiation gives. The coefficients travel as jets through the network's own forward pass
    (:mod:`landscape_cli.compute.tangent.jets`); a network they cannot follow is left to ``torch.func`` as a whole,
    which costs more. Where the value that comes along differs in its last bits from the network's own (fused kernels of
    attention and recurrent layers), that is computed beside it for another F.

    Args:
        network: The network; it is taken over, its weights become w̃. Its flags ``requires_grad`` say what trains.
        base: The state w̃, in the names of ``network.state_dict()``; None for the network's own.
        order: Of the polynomial.

    Raises:
        NetworkError: If the network has no trainable parameters, or any in half precision. The first forward pass
            raises it too: if the outputs are no floating-point logits or do not depend on the parameters, or a layer
            has no derivative (it is named).
    """

    def __init__(self, network: nn.Module, base: Mapping[str, Tensor] | None = None, *, order: Order = 1) -> None:
        super().__init__()
        if base is not None:
            network.load_state_dict(dict(base))
        trained = {name for name, p in network.named_parameters(remove_duplicate=False) if p.requires_grad}
        if not trained:
            raise NetworkError("a network without trainable parameters has no tangent space")
        self._trained = trained
        self.taylor_order: Order = order
        self.taylor_method: Method | None = None  # chosen by the first forward pass
        self._apart = False  # whether f₀ needs a forward pass of its own
        # In a tuple, so that its layers are not this module's: nothing recomputes their statistics or trains them.
        self._network = (network.eval(),)
        for name, _ in network.named_modules(remove_duplicate=False):
            if name:
                home_of(self, f"{name}.")  # in the network's order, which is then that of the state
        persistent = network.state_dict().keys()
        mine: dict[Tensor, nn.Parameter] = {}  # tied weights stay tied
        for name, parameter in network.named_parameters(remove_duplicate=False):
            own = mine.setdefault(parameter, nn.Parameter(parameter.detach().clone(), requires_grad=False))
            own.requires_grad_(own.requires_grad or name in trained)
            home, leaf = home_of(self, name)
            home.register_parameter(leaf, own)
        for name, buffer in network.named_buffers(remove_duplicate=False):
            if name in persistent:
                home, leaf = home_of(self, name)
                home.register_buffer(leaf, buffer.detach().clone())
        self._match()
        self.eval()

    def train(self, mode: bool = True) -> "LinearizedNetwork":
        """Stay in evaluation mode, whatever is asked for."""
        super().train(False)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LinearizedNetwork":
        self._network[0]._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _match(self) -> None:
        """Bring the network to the precision of w.

        Raises:
            NetworkError: If that is half precision.
        """
        network = self._network[0]
        for parameter in self.parameters():
            if parameter.dtype in (torch.float16, torch.bfloat16):
                raise NetworkError(
                    "a linearised network cannot be held in half precision: w − w̃ would be rounded away",
                    "use --precision float32",
                )
        own, held = next(self.parameters()), next(network.parameters())
        if own.dtype != held.dtype:
            network.to(own.dtype)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch class"]:
        """The Taylorised logits of a batch."""
        logits = total(*self.coefficients(x))
        assert logits is not None
        return logits

    def coefficients(
        self, x: Float[Tensor, "batch ..."], direction: Mapping[str, Tensor] | None = None
    ) -> Coefficients:
        """Value, first and second Taylor coefficient of the logits at w̃: they add up to the polynomial.

        Args:
            x: Inputs.
            direction: Of the trainable parameters, by name; None for ``w − w̃``.

        Returns:
            Three tensors ``(batch, class)``; the third is None to first order.
        """
        self._match()
        if self.taylor_method is None:
            self.taylor_method = self._choose(x)
        value, first, second = self._series(
            x, self._direction() if direction is None else direction, self.taylor_method
        )
        return (self._own_logits(x) if self._apart else value), first, second

    @torch.no_grad()
    def _own_logits(self, x: Tensor) -> Tensor:
        """The network's logits at w̃, by a forward pass like any other."""
        return _logits(self._network[0](x))[0]

    def _direction(self) -> dict[str, Tensor]:
        """``w − w̃``, of what trains."""
        base = dict(self._network[0].named_parameters())
        return {name: own - base[name] for name, own in self.named_parameters() if name in self._trained}

    def _series(self, x: Tensor, direction: Mapping[str, Tensor], method: Method) -> Coefficients:
        """Value, first and second Taylor coefficient of the logits along a direction."""
        network = self._network[0]
        base = {name: p.detach() for name, p in network.named_parameters()}
        order = self.taylor_order
        if method == "jets":
            moving = {name: make_jet(base[name], d, order=order) for name, d in direction.items()}
            return _logits(functional_call(network, moving, (x,)))

        def outputs(at: dict[str, Tensor]) -> Tensor:
            found: Tensor = functional_call(network, at, (x,))
            return found

        at, way = {name: base[name] for name in direction}, dict(direction)
        value = self._own_logits(x)
        with sdpa_kernel(SDPBackend.MATH), Substituting():
            if order == 1:
                return value, forward_derivative(outputs, (at,), (way,))[1], None
            slope = lambda p: forward_derivative(outputs, (p,), (way,))[1]  # noqa: E731
            first, twice = forward_derivative(slope, (at,), (way,))
        return value, first, 0.5 * twice

    def _choose(self, x: Tensor) -> Method:
        """The cheapest method whose derivatives are right on a few samples.

        Raises:
            NetworkError: If there is none.
        """
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            few = x[:PROBED].clone().to(next(self.parameters()).dtype)
            way = self._random_direction()
            cotangent, truth, scale = self._reverse(few, way)
            problem: Exception | None = None
            for method in ("jets", "general"):
                try:
                    value, first, second = self._series(few, way, method)
                except NetworkError:
                    raise
                except Exception as error:  # whatever a network may do
                    problem = problem if isinstance(error, UnsupportedError) else problem or error
                    continue
                found = [_inner(cotangent, first), 2 * _inner(cotangent, second)]
                close = TOLERANCE[few.dtype]
                if all(abs(one - two) <= close * s for one, two, s in zip(found, truth, scale, strict=False)):
                    # Fused kernels, of attention and recurrence, take over where nothing is to be differentiated.
                    self._apart = not torch.equal(value, self._own_logits(few))
                    return method
        if problem is not None:
            raise self._named(problem, lambda: self._series(few, way, "general"))
        raise NetworkError(
            "the derivatives of this network, taken forwards and backwards, disagree",
            "a layer of it has a backward pass of its own, or draws random numbers",
        )

    def _random_direction(self) -> dict[str, Tensor]:
        """A step of a tenth of each parameter's size, the same at every call."""
        random = torch.Generator().manual_seed(0)
        found = {}
        for name, own in self.named_parameters():
            if name in self._trained:
                size = 0.1 * (own.square().mean().sqrt() if own.numel() else own.sum()) + 1e-3
                noise = torch.randn(own.shape, generator=random, dtype=torch.float64)
                found[name] = noise.to(own.device, own.dtype) * size
        return found

    def _reverse(self, x: Tensor, way: Mapping[str, Tensor]) -> tuple[Tensor, list[float], list[float]]:
        """First and second derivative of ``⟨c, f(x; w̃ + εd)⟩`` in ε by reverse differentiation.

        Returns:
            The random cotangent c, the derivatives, and the size that an error of each is measured by.

        Raises:
            NetworkError: If the outputs are no logits, do not depend on what trains, or a layer has no derivative.
        """
        network = self._network[0]
        base = {name: p.detach() for name, p in network.named_parameters()}

        def differentiate() -> tuple[Tensor, list[float], list[float]]:
            step = torch.zeros((), dtype=x.dtype, device=x.device, requires_grad=True)
            moved = {name: base[name] + step * d for name, d in way.items()}
            logits = _logits(functional_call(network, moved, (x,)))[0]
            if not logits.requires_grad:
                raise NetworkError("the network's outputs do not depend on its trainable parameters")
            noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            cotangent = noise.to(logits.device, logits.dtype)
            values, scales = [], []
            found = (cotangent * logits).sum()
            size = float(logits.detach().norm() * cotangent.norm())
            for number in range(self.taylor_order):
                last = number + 1 == self.taylor_order
                if found.requires_grad:
                    (found,) = torch.autograd.grad(found, step, create_graph=not last, materialize_grads=True)
                else:
                    found = torch.zeros_like(step)
                values.append(float(found.detach()))
                scales.append(max(abs(values[-1]), size))
            return cotangent, values, scales

        try:
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), Substituting():
                return differentiate()
        except NetworkError:
            raise
        except Exception as error:  # whatever a network may do
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), Substituting():
                raise self._named(error, differentiate) from error

    def _named(self, error: Exception, again: Callable[[], object]) -> NetworkError:
        """An error of a layer, with that layer's name, found by doing the same thing again."""
        network = self._network[0]
        running, returned = list[str](), dict[str, tuple[Tensor, int]]()
        with _following(network, running, returned), contextlib.suppress(Exception):
            again()
        text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        text = text.partition(" Hint:")[0]
        written = [name for name, (output, version) in returned.items() if output._version != version]
        hint = "give the network layers that torch.func can differentiate forwards; LANDSCAPE_DEBUG=1 shows where"
        if inplace := "in-place" in text or "inplace" in text:
            hint = "let what comes after that layer work out of place: x = x + y instead of x += y, inplace=False"
        guilty = running[-1:] or (written[-1:] if inplace else [])
        layer = f"layer '{guilty[0]}' ({type(network.get_submodule(guilty[0])).__name__})" if guilty else "the network"
        return NetworkError(f"{layer} cannot be linearised: {text}", hint)


def _logits(output: Any) -> Coefficients:
    """The coefficients of a network's output.

    Raises:
        NetworkError: If it is nothing to differentiate.
    """
    value, first, second = coefficients(output)
    if not isinstance(value, Tensor):
        raise NetworkError(f"the network gives a {type(value).__name__}, not a tensor of logits")
    if not value.is_floating_point():
        raise NetworkError(f"the network's outputs are {str(value.dtype).removeprefix('torch.')}: they have no slope")
    return value, first, second


def _inner(one: Tensor, two: Tensor | None) -> float:
    return 0.0 if two is None else float((one * two).sum())


@contextlib.contextmanager
def _following(network: nn.Module, running: list[str], returned: dict[str, tuple[Tensor, int]]) -> Iterator[None]:
    """Keep the names of the modules that run, the innermost last, and what each returned with its version."""

    def left(name: str, output: Any) -> None:
        running.pop()
        if isinstance(output, Tensor):
            returned.pop(name, None)  # the last to return stands last
            returned[name] = (output, output._version)

    handles = []
    for name, module in network.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
            handles.append(module.register_forward_hook(lambda _, __, output, name=name: left(name, output)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
