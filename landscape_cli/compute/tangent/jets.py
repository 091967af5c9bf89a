"""Truncated Taylor series of tensors: a value and how it moves, to first or second order, along one direction.

``torch.func`` has first-order forward derivatives. Nested for the second order they work out ``∂x`` twice in every
layer and take the products of a convolution nine times where five are needed; and the nested derivative of layer,
instance and training-mode batch norm is silently wrong in current torch. A :class:`Jet` carries the three coefficients
through a network's own forward pass instead, as ordinary tensors, so that autograd can go backward through them.
"""

import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

Rule = Callable[..., Any]

RULES: dict[Any, Rule] = {}
"""What is known of a function: called with the function and its arguments; may return NotImplemented."""

SUBSTITUTES: dict[Any, Callable[..., Any]] = {}
"""Functions to differentiate instead of others, whose derivatives are missing or wrong in torch."""


class UnsupportedError(Exception):
    """Something a network does that jets cannot follow: the whole network is left to ``torch.func`` then."""


class Jet(Tensor):
    """``value + ε·first + ε²·second``: a tensor that moves with the parameters.

    For metadata (shape, type, device) it is its value. Every torch function that meets one comes to
    ``__torch_function__``, where a rule of :data:`RULES` propagates the coefficients, or
    :func:`general` does. A coefficient of None is zero. ``order`` says where the series ends.
    """

    value: Tensor
    first: Tensor | None
    second: Tensor | None
    order: int
    shared: bool  # whether another tensor may lie in the same memory

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            return apply(func, args, kwargs)


class Substituting(TorchFunctionMode):
    """While it is entered, functions of :data:`SUBSTITUTES` are replaced."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return SUBSTITUTES.get(func, func)(*args, **(kwargs or {}))


def make_jet(value: Tensor, first: Tensor | None, second: Tensor | None = None, *, order: int) -> Tensor:
    """A jet, or the value itself if it does not move."""
    if first is None and second is None:
        return value
    jet: Jet = torch.Tensor._make_subclass(Jet, value.detach())
    jet.value, jet.first, jet.second, jet.order, jet.shared = value, first, second, order, False
    return jet


def coefficients(x: Any) -> tuple[Any, Tensor | None, Tensor | None]:
    """Value, first and second order of anything; what is no jet does not move."""
    return (x.value, x.first, x.second) if isinstance(x, Jet) else (x, None, None)


def jets_in(args: Any) -> list[Jet]:
    """The jets among arguments, however deep in lists and dictionaries."""
    return [leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, Jet)]


def total(*parts: Tensor | None) -> Tensor | None:
    """The sum of what is not zero."""
    found: Tensor | None = None
    for part in parts:
        if part is not None:
            found = part if found is None else found + part
    return found


def apply(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A torch function of arguments among which there are jets."""
    if (stem := _out_of_place(func, args, kwargs)) is not None:
        return _assign(args[0], apply(*stem))
    if (rule := RULES.get(func)) is not None:
        found = rule(func, *args, **kwargs)
        if found is not NotImplemented:
            return found
    return general(func, args, kwargs)


def general(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Any function, by forward differentiation: ``f(v + εa + ε²b) = f + ε f'a + ε² (f'b + ½ f''aa)``.

    The value is the function's own, to the last bit. Cost: two evaluations for the first order, four and more for the
    second.
    """
    leaves, structure = pytree.tree_flatten((args, kwargs))
    places = [number for number, leaf in enumerate(leaves) if isinstance(leaf, Jet)]
    jets = [leaves[number] for number in places]

    def call(function: Callable[..., Any], values: Sequence[Tensor]) -> Any:
        filled = list(leaves)
        for number, value in zip(places, values, strict=True):
            filled[number] = value
        own_args, own_kwargs = pytree.tree_unflatten(filled, structure)
        return function(*own_args, **own_kwargs)

    out, form = pytree.tree_flatten(call(func, [jet.value for jet in jets]))
    moving = [number for number, leaf in enumerate(out) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not moving:  # a shape, a comparison, an index: what does not change along the way
        return pytree.tree_unflatten(out, form)

    def outputs(*values: Tensor) -> tuple[Tensor, ...]:
        found = pytree.tree_leaves(call(SUBSTITUTES.get(func, func), values))
        return tuple(found[number] for number in moving)

    order = max(jet.order for jet in jets)
    firsts, seconds = derivatives(outputs, jets, order)
    for number, first, second in zip(moving, firsts, seconds, strict=True):
        out[number] = make_jet(out[number], first, second, order=order)
        note_sharing(out[number], jets)
    return pytree.tree_unflatten(out, form)


def derivatives(
    outputs: Callable[..., tuple[Tensor, ...]], jets: Sequence[Jet], order: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
    """The first and second coefficients of the outputs of a function of jets.

    By forward differentiation; where torch has no such derivative, by reverse differentiation twice.
    """
    values = tuple(jet.value for jet in jets)
    firsts = tuple(torch.zeros_like(jet.value) if jet.first is None else jet.first for jet in jets)
    twice = tuple(torch.zeros_like(jet.value) if jet.second is None else 2 * jet.second for jet in jets)
    for push in (_push_forward, _push_by_reverse):
        try:
            # The fused kernels of attention have no forward derivative.
            with sdpa_kernel(SDPBackend.MATH):
                if order == 1:
                    found = push(outputs, values, firsts)[1]
                    return found, (None,) * len(found)

                def along(*both: Tensor, push: _Push = push) -> tuple[Tensor, ...]:
                    return push(outputs, both[: len(values)], both[len(values) :])[1]

                first, second = push(along, values + firsts, firsts + twice)
                return first, tuple(0.5 * part for part in second)
        except RuntimeError:  # also what torch has not implemented
            if push is _push_by_reverse:
                raise
    raise AssertionError


def forward_derivative(function: Callable[..., Any], at: tuple[Any, ...], way: tuple[Any, ...]) -> tuple[Any, Any]:
    """``torch.func.jvp``, without the warning that its first use gives."""
    _load_decompositions()
    found, pushed, *_ = jvp(function, at, way)
    return found, pushed


@functools.cache
def _load_decompositions() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # they are scripted, which torch itself deprecates
        importlib.import_module("torch._decomp.decompositions_for_jvp")


Several = tuple[Tensor, ...]
_Push = Callable[[Callable[..., Several], Several, Several], tuple[Several, Several]]


def _push_forward(outputs: Callable[..., Several], values: Several, ways: Several) -> tuple[Several, Several]:
    """Outputs, and their derivatives ``J v``, by forward differentiation."""
    return forward_derivative(outputs, values, ways)


def _push_by_reverse(outputs: Callable[..., Several], values: Several, ways: Several) -> tuple[Several, Several]:
    """Outputs, and ``J v = ∂/∂u ⟨Jᵀu, v⟩``: what is linear in u is differentiated once more, at any u."""
    keep = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        at, along = (
            [t if t.requires_grad else t.detach().clone().requires_grad_() for t in some] for some in (values, ways)
        )
        found = outputs(*at)
        free = [torch.zeros_like(part, requires_grad=True) for part in found]
        pulled = torch.autograd.grad(found, at, free, create_graph=True, materialize_grads=True)
        inner = torch.stack([(one * two).sum() for one, two in zip(pulled, along, strict=True)]).sum()
        if inner.requires_grad:
            pushed: Several = torch.autograd.grad(inner, free, create_graph=True, materialize_grads=True)
        else:
            pushed = tuple(torch.zeros_like(part) for part in found)
    if keep:
        return found, pushed
    return tuple(part.detach() for part in found), tuple(part.detach() for part in pushed)


def _out_of_place(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]] | None:
    """The call that gives what an in-place call writes into its first argument; None if the call is not in place.

    Raises:
        UnsupportedError: If it writes elsewhere, or there is no such call.
    """
    if kwargs.get("out") is not None:
        raise UnsupportedError("it writes with out=")
    if kwargs.get("inplace"):
        return func, args, {**kwargs, "inplace": False}
    name = getattr(func, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        stem = name[:-1]
    elif name.startswith("__i") and name not in ("__index__", "__int__", "__invert__"):
        stem = f"__{name[3:]}"
    else:
        if name == "__setitem__":
            raise UnsupportedError("it assigns to a part of a tensor")
        return None
    other = getattr(Tensor, stem, None)
    if not callable(other):
        raise UnsupportedError(f"it calls {name}")
    return other, args, kwargs


def _assign(target: Any, result: Any) -> Any:
    """Let a jet be the result of an in-place call on it.

    Raises:
        UnsupportedError: If another tensor may lie in its memory, which would have to change too, or if the target
            does not move itself.
    """
    if not isinstance(target, Jet):
        raise UnsupportedError("it writes into a tensor that does not depend on the parameters")
    if target.shared or result.shape != target.value.shape or result.dtype != target.value.dtype:
        raise UnsupportedError("it writes into a tensor of which there is another view")
    target.value, target.first, target.second = coefficients(result)
    return target


def note_sharing(result: Any, jets: Sequence[Jet]) -> Any:
    """Note which jets lie in the memory of a result: views, and functions that return their argument."""
    if isinstance(result, Jet):
        for jet in jets:
            if result.value.untyped_storage()._cdata == jet.value.untyped_storage()._cdata:
                result.shared = jet.shared = True
    return result
