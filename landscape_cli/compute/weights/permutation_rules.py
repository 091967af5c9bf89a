"""What each operation of a forward pass does to the units that its numbers belong to.

Operations come as torch's own (``aten``), whatever modules and functions they are written in. Those that only move
numbers about are carried out on labels as on numbers; functions of single entries, and sums of two activations, join
labels entry by entry; a product with weights ends old units and begins new ones; a pooling keeps each channel's unit; a
norm, a softmax or a mean over units is symmetric in them. Anything else is refused by name.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from landscape_cli.compute.weights.permutation_labels import (
    CONSTANT,
    INPUT,
    Atoms,
    Labels,
    Marks,
    Parameter,
    Unknown,
    key,
    mix,
    places,
    total,
)  # fmt: skip
from landscape_cli.compute.weights.permutation_uses import Uses
from landscape_cli.errors import NetworkError

Tracked = Labels | Parameter | Unknown

MOVING = {
    "view", "_unsafe_view", "_reshape_alias", "permute", "transpose", "t", "expand", "slice", "select", "cat", "stack",
    "unsqueeze", "squeeze", "flip", "constant_pad_nd", "clone", "alias", "detach", "index_select", "split", "roll",
    "split_with_sizes", "unbind", "repeat", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "reflection_pad1d",
    "reflection_pad2d", "replication_pad1d", "replication_pad2d", "_to_copy", "lift_fresh", "unfold",
}  # fmt: skip
POINTWISE = {"_prelu_kernel", "hardswish", "hardsigmoid", "mish"}  # beside those that torch itself marks as such
POOLING = {
    "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d",
}  # fmt: skip
REDUCING = {
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "prod", "logsumexp", "linalg_vector_norm",
    "norm",
}  # fmt: skip
NORMING = {"_softmax", "_log_softmax"}
BATCH_NORM = {
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
    "miopen_batch_norm", "_batch_norm_with_update", "_batch_norm_no_update",
}  # fmt: skip
PRODUCTS = {"convolution", "addmm", "mm", "linear"}
# New tensors that have the shape of an activation, and none of its values.
MAKING = {
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones",
    "new_full", "new_empty",
}  # fmt: skip


class Rules:
    """Follows a forward pass.

    Args:
        uses: Collects how weights are used.

    Attributes:
        known: What is known of tensors, by identity.
        path: The modules that are running, outermost first.
    """

    def __init__(self, uses: Uses) -> None:
        self.uses = uses
        self.ties = uses.ties
        self.path: list[str] = []
        self.known: dict[int, Tracked] = {
            identity: Parameter(names[0], np.arange(tensor.numel()).reshape(tuple(tensor.shape)))
            for identity, (tensor, names, _) in uses.tensors.items()
        }
        self.products = -1  # the number of the last one
        self._alive: list[Any] = []  # identities are of use only while their tensors live

    def follow(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Take in one operation and its result.

        Raises:
            NetworkError: If it cannot be followed.
        """
        self._alive.append((args, kwargs, result))
        name = func.overloadpacket.__name__
        self.products += name in PRODUCTS
        if name in MAKING:
            return
        found = [self.known[id(t)] for t in _tensors((args, kwargs)) if id(t) in self.known]
        if not found:
            return
        if unknown := next((f for f in found if isinstance(f, Unknown)), None):
            self._refuse(name, f"it uses a second output of {unknown.what}")
        handler = self._handler(func, name)
        outputs = list(_tensors(result))
        if not outputs:
            self._refuse(name, "the computation depends on values of activations")
        made = handler(name, func, args, kwargs, outputs)
        for output, labels in zip(outputs, made, strict=False):
            self.known[id(output)] = labels
        for output in outputs[len(made) :]:
            self.known[id(output)] = Unknown(name)

    def _handler(self, func: Any, name: str) -> Callable[..., Sequence[Tracked]]:
        table: list[tuple[set[str], Callable[..., Sequence[Tracked]]]] = [
            (MOVING, self._move), (POOLING, self._pool), (REDUCING, self._reduce), (NORMING, self._normalise),
            (BATCH_NORM, self._batch_norm), (POINTWISE, self._pointwise), ({"convolution"}, self._convolve),
            (PRODUCTS, self._multiply), ({"as_strided"}, self._restride),
            ({"native_layer_norm"}, self._layer_norm), ({"native_group_norm"}, self._group_norm),
        ]  # fmt: skip
        for names, handler in table:
            if name.removesuffix("_") in names or name in names:
                return handler
        if torch.Tag.pointwise not in func.tags:
            self._refuse(name, "nothing is known of what it does to the order of units")
        return self._pointwise

    def _refuse(self, name: str, why: str) -> NoReturn:
        where = self.path[-1] if self.path else "the network"
        raise NetworkError(
            f"what may be permuted cannot be derived at {where}, operation {name}: {why}",
            "networks of linear and convolutional layers, norms, sums, pooling and functions of single entries can be",
        )

    def _labels(self, tensor: Any, name: str) -> Labels:
        """The labels of an activation or a constant."""
        found = self.known.get(id(tensor))
        if isinstance(found, Labels):
            return found
        if isinstance(found, Parameter):
            self._refuse(name, f"'{found.name}' is used as if it were an activation")
        bits = np.asarray(tensor.detach().cpu().double().contiguous().numpy()).view(np.uint64)
        return Labels(np.full(bits.shape, CONSTANT), mix(key("constant"), bits))

    # --- operations that move numbers about

    def _move(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        """Carry the operation out on the numbers' places, and gather labels from there."""
        sources = list(_tensors((args, kwargs)))
        found = [self.known.get(id(tensor)) for tensor in sources]
        if any(isinstance(f, Parameter) for f in found) and len(sources) > 1:
            self._refuse(name, "weights are computed from weights")
        starts = np.cumsum([0, *(tensor.numel() for tensor in sources)])
        indices = {
            id(tensor): torch.arange(start, start + tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
            for tensor, start in zip(sources, starts, strict=False)
        }
        options = {k: v for k, v in kwargs.items() if k not in ("dtype", "device", "layout", "memory_format")}
        pad = float("nan")
        if name == "constant_pad_nd":
            args, options, pad = (*args[:2], -1.0), {}, float(args[2] if len(args) > 2 else kwargs.get("value", 0.0))
        if name == "_to_copy":
            moved: Any = indices[id(args[0])].clone()
        else:
            try:
                moved = func(*_replaced(args, indices), **_replaced(options, indices))
            except (RuntimeError, TypeError) as error:
                self._refuse(name, str(error).splitlines()[0])
        orders = [tensor.to(torch.int64).contiguous().numpy() for tensor in _tensors(moved)]
        if len(found) == 1 and isinstance(found[0], Parameter):
            if any((order < 0).any() for order in orders):
                self._refuse(name, "weights are padded")
            return [Parameter(found[0].name, found[0].index.reshape(-1)[order]) for order in orders]
        labels = [self._labels(tensor, name) for tensor in sources]
        padding = mix(key("constant"), np.asarray(np.float64(pad)).view(np.uint64))
        atoms = np.concatenate([*(one.atoms.reshape(-1) for one in labels), [CONSTANT]])
        marks = np.concatenate([*(one.marks.reshape(-1) for one in labels), padding.reshape(1)])
        return [Labels(atoms[order], marks[order]) for order in orders]

    def _restride(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        """What torch's global average pooling does in the channels-last layout: ``(n, c, 1, 1)`` stays what it is."""
        labels = self._labels(args[0], name)
        size, stride = tuple(args[1]), tuple(args[2])
        if size != labels.atoms.shape or any(s > 1 for s in size[2:]) or stride[:2] != (size[1], 1) or len(args) > 3:
            self._refuse(name, "the numbers' places in memory are changed")
        return [labels]

    # --- entry by entry

    def _pointwise(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        shape = tuple(outputs[0].shape)
        sources = list(_tensors((args, kwargs)))
        weights = [f for t in sources if isinstance(f := self.known.get(id(t)), Parameter)]
        others = [self._labels(t, name) for t in sources if not isinstance(self.known.get(id(t)), Parameter)]
        if not any(isinstance(self.known.get(id(t)), Labels) for t in sources):
            self._refuse(name, f"weights are computed from '{weights[0].name}'")
        plain = name.rstrip("_")
        labels = [Labels(np.broadcast_to(one.atoms, shape), np.broadcast_to(one.marks, shape)) for one in others]
        atoms = labels[0].atoms
        for one in labels[1:]:
            atoms = self.ties.combine(atoms, one.atoms)
        own = key(plain, _plain(args), sorted((k, repr(_plain(v))) for k, v in kwargs.items()))
        marks = mix(own, *(self.ties.marks(one) for one in labels))
        for weight in weights:
            marks = self._attach(weight, Labels(atoms, marks), name)
        return [Labels(atoms, marks)]

    def _attach(self, weight: Parameter, labels: Labels, name: str) -> Marks:
        """Weights that act on single entries belong to the units of these entries; returns the entries' new marks."""
        index = np.broadcast_to(weight.index, labels.atoms.shape).reshape(-1)
        roots, marks = self.ties.roots(labels.atoms).reshape(-1), self.ties.marks(labels)
        used = np.unique(weight.index)
        order = np.argsort(index, kind="stable")
        bounds = np.searchsorted(index[order], used)
        lowest, highest = (np.asarray(f.reduceat(roots[order], bounds)) for f in (np.minimum, np.maximum))
        own = mix(key(weight.name))
        if bool((lowest == highest).all()):
            with np.errstate(over="ignore"):
                roles = np.add.reduceat(marks.reshape(-1)[order], bounds)
            atoms = labels.atoms.reshape(-1)[order][bounds]
            self.uses.weight(weight.name, used.reshape(-1, 1, 1), first=(atoms, mix(own, roles)), second=None)
            stuck = roots <= 0
        else:
            stuck = np.ones(len(roots), dtype=bool)  # shared by several units, it may not move
        # An entry whose weight stays is computed with that very weight, one whose weight moves with its unit's own.
        which = np.where(stuck, mix(own, index.astype(np.uint64)), own).reshape(marks.shape)
        return mix(marks, which)

    # --- products with weights

    def _convolve(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        x, weight, bias = args[:3]
        transposed, groups = bool(args[6]), int(args[8])
        own, labels = self.known.get(id(weight)), self._labels(x, name)
        channels, made = x.shape[1], outputs[0].shape[1]
        shape = tuple(outputs[0].shape)
        if isinstance(own, Labels | Unknown):
            self._refuse(name, "its weights are computed by the network")
        if groups > 1 and groups == channels and not transposed:
            return [self._depthwise(name, own, weight, bias, labels, shape)]
        if own is None:
            self._refuse(name, "its weights are no parameter of the network")
        index = own.index.reshape(*own.index.shape[:2], -1)
        index = index.swapaxes(0, 1) if transposed else index
        if groups > 1:
            return [self._grouped(name, own, index, bias, labels, shape, groups, transposed=transposed)]
        return [self._product(name, own.name, index, bias, labels, axis=1, shape=shape, made=made)]

    def _multiply(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        bias, x, weight = args if name == "addmm" else (None, *args[:2])
        if name == "linear":
            x, weight = args[:2]
            bias = args[2] if len(args) > 2 else kwargs.get("bias")
        own = self.known.get(id(weight))
        if not isinstance(own, Parameter) or (
            name == "addmm" and (kwargs.get("alpha", 1), kwargs.get("beta", 1)) != (1, 1)
        ):
            self._refuse(name, "it is no product of an activation with a parameter of the network")
        index = own.index if name == "linear" else own.index.T
        shape = tuple(outputs[0].shape)
        x_labels = self._labels(x, name)
        block = index[:, :, None]
        return [self._product(name, own.name, block, bias, x_labels, axis=x.ndim - 1, shape=shape, made=shape[-1])]

    def _product(
        self, name: str, weight: str, index: Int64[np.ndarray, "first second rest"], bias: Tensor | None,
        labels: Labels, *, axis: int, shape: tuple[int, ...], made: int,
    ) -> Labels:  # fmt: skip
        """A sum over an axis with weights: the units along it end here, and new ones begin."""
        rest = [a for a in range(labels.atoms.ndim) if a != axis]
        marks = self.ties.marks(labels)
        along = self.ties.uniform(labels.atoms, rest)
        out = axis if axis == 1 else len(shape) - 1
        others = [a for a in range(len(shape)) if a != out]
        if along is None:
            return self._mixed_product(name, weight, index, bias, labels, axis=axis, shape=shape, out=out)
        roles = total(mix(marks, places(marks.shape, rest)), rest).reshape(-1)
        atoms = along.reshape(-1)
        self.uses.reading(self.products, axis, atoms, roles)
        fresh = self.uses.known(weight, index)
        if fresh is None:
            fresh = self.ties.fresh(made, weight.rpartition(".")[0] or weight)
        self.uses.weight(
            weight, index, first=(fresh, np.broadcast_to(key(weight), (made,)).copy()), second=(atoms, roles)
        )
        sums = mix(key("product", weight), total(roles, [0]))
        spread = np.broadcast_to(fresh.reshape([-1 if a == out else 1 for a in range(len(shape))]), shape)
        result = Labels(spread, mix(sums.reshape((1,) * len(shape)), places(shape, others)))
        return self._with_bias(name, bias, result, out)

    def _with_bias(self, name: str, bias: Tensor | None, labels: Labels, axis: int) -> Labels:
        if bias is None:
            return labels
        own = self.known.get(id(bias))
        if not isinstance(own, Parameter):
            self._refuse(name, "its bias is no parameter of the network")
        shaped = own.index.reshape([-1 if a == axis else 1 for a in range(labels.atoms.ndim)])
        return Labels(labels.atoms, self._attach(Parameter(own.name, shaped), labels, name))

    def _mixed_product(
        self, name: str, weight: str, index: Int64[np.ndarray, "first second rest"], bias: Tensor | None,
        labels: Labels, *, axis: int, shape: tuple[int, ...], out: int,
    ) -> Labels:  # fmt: skip
        """A sum over places of the same unit (token mixing): units stay, and the weights stay in their order."""
        atoms = self.ties.uniform(labels.atoms, [axis])
        if (
            name == "convolution"
            or atoms is None
            or axis != out
            or (bias is not None and not isinstance(self.known.get(id(bias)), Parameter))
        ):
            self._refuse(name, "its inputs mix units and places")
        marks = self.ties.marks(labels)
        sums = total(mix(marks, places(marks.shape, [axis])), [axis])
        moved = mix(key("mixed", weight), sums, places(shape, [axis]))
        return Labels(np.broadcast_to(atoms, shape), moved)

    def _depthwise(
        self, name: str, own: Parameter | None, weight: Tensor, bias: Tensor | None, labels: Labels, shape: Any
    ) -> Labels:
        """Each channel has a filter of its own (or several): its unit stays."""
        pooled = self._channelwise(name, labels, shape, key(name))
        each = shape[1] // labels.atoms.shape[1]
        if own is None:
            kernels = self._labels(weight, name).marks.reshape(weight.shape[0], -1)
            bits = mix(total(mix(kernels, places(kernels.shape, [1])), [1]))
            marks = mix(pooled.marks, bits.reshape([1, -1, *(1,) * (len(shape) - 2)]))
            return self._with_bias(name, bias, Labels(pooled.atoms, marks), 1)
        head = (slice(0, 1), slice(None), *(slice(0, 1) for _ in shape[2:]))
        atoms = pooled.atoms[head].reshape(-1)
        multiple = np.arange(shape[1], dtype=np.uint64) % np.uint64(each)
        roles = total(
            mix(pooled.marks, places(shape, [a for a in range(len(shape)) if a != 1])), [0, *range(2, len(shape))]
        )
        self.uses.weight(
            own.name, own.index.reshape(shape[1], 1, -1), first=(atoms, mix(roles.reshape(-1), multiple)), second=None
        )
        tail = multiple.reshape([1, -1, *(1,) * (len(shape) - 2)])
        stuck = self.ties.roots(pooled.atoms) <= 0
        which = np.where(stuck, mix(key(own.name), places(shape, [1])), mix(key(own.name), tail))
        return self._with_bias(name, bias, Labels(pooled.atoms, mix(pooled.marks, which)), 1)

    def _grouped(
        self, name: str, own: Parameter, index: Int64[np.ndarray, "first second rest"], bias: Tensor | None,
        labels: Labels, shape: Any, groups: int, *, transposed: bool,
    ) -> Labels:  # fmt: skip
        """Groups of channels with weights of their own: inputs may not move, outputs within their group."""
        if transposed:
            self._refuse(name, "a transposed convolution in groups")
        self.ties.fix(np.unique(labels.atoms))
        fresh = self.ties.fresh(shape[1], own.name.rpartition(".")[0] or own.name)
        block = np.arange(shape[1], dtype=np.uint64) // np.uint64(shape[1] // groups)
        self.uses.weight(own.name, index, first=(fresh, mix(key(own.name), block)), second=None)
        spread = np.broadcast_to(fresh.reshape([1, -1, *(1,) * (len(shape) - 2)]), shape)
        others = [a for a in range(len(shape)) if a != 1]
        sums = total(
            mix(self.ties.marks(labels), places(labels.marks.shape, range(labels.marks.ndim))), range(labels.marks.ndim)
        )
        marks = mix(key("grouped", own.name), sums.reshape((1,) * len(shape)), places(shape, others))
        return self._with_bias(name, bias, Labels(spread, marks), 1)

    # --- channel by channel, and symmetric in units

    def _channelwise(self, name: str, labels: Labels, shape: tuple[int, ...], own: Marks) -> Labels:
        """What is computed of each channel apart, from all its places."""
        space = list(range(2, labels.atoms.ndim))
        atoms = self.ties.uniform(labels.atoms, space)
        if atoms is None:
            self._refuse(name, "the places of a channel belong to several units")
        marks = self.ties.marks(labels)
        sums = total(mix(marks, places(marks.shape, space)), space)
        each = shape[1] // labels.atoms.shape[1]
        if each > 1:
            atoms, sums = atoms.repeat(each, axis=1), sums.repeat(each, axis=1)
        return Labels(np.broadcast_to(atoms, shape), mix(own, sums, places(shape, range(2, len(shape)))))

    def _pool(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        labels, shape = self._labels(args[0], name), tuple(outputs[0].shape)
        if labels.atoms.ndim != len(shape) or shape[1] != labels.atoms.shape[1]:
            self._refuse(name, "inputs without a batch axis")
        return [self._channelwise(name, labels, shape, key(name, _plain(args)))]

    def _reduce(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        labels = self._labels(args[0], name)
        rank, shape = labels.atoms.ndim, tuple(outputs[0].shape)
        given = args[2:] if name in ("linalg_vector_norm", "norm") else args[1:]
        dims = given[0] if given else None
        dims = kwargs.get("dim") if dims is None else dims
        dims = list(range(rank)) if dims is None or dims == [] else dims
        axes = sorted({int(d) % rank for d in (dims if isinstance(dims, list | tuple) else [dims])})
        marks, atoms = self.ties.marks(labels), self.ties.uniform(labels.atoms, axes)
        sums = total(marks, axes)
        if atoms is None:
            self._set_of(labels, marks, [a for a in range(rank) if a not in axes])
            kept = sums.shape
            atoms, sums = np.full(kept, INPUT), places(kept, range(rank))
        found = Labels(atoms.reshape(shape), mix(key(name, _plain(args)), sums).reshape(shape))
        return [found] * (2 if name == "var_mean" else 1)

    def _set_of(self, labels: Labels, marks: Marks, others: Sequence[int]) -> None:
        """Units that enter symmetric operations, one for each position along ``others``."""
        roles = mix(marks, places(marks.shape, others)).reshape(-1)
        roots = self.ties.roots(labels.atoms).reshape(-1)
        units, index = np.unique(roots, return_inverse=True)
        sums = np.zeros(len(units), dtype=np.uint64)
        with np.errstate(over="ignore"):
            np.add.at(sums, index, roles)
        self.uses.together(units, sums)

    def _normalise(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        axis = int(args[1]) % args[0].ndim
        return [self._normed(self._labels(args[0], name), [axis], key(name))]

    def _normed(self, labels: Labels, axes: Sequence[int], own: Marks) -> Labels:
        """Entries that are divided by what is symmetric in all entries along ``axes``."""
        marks = self.ties.marks(labels)
        others = [a for a in range(marks.ndim) if a not in axes]
        if self.ties.uniform(labels.atoms, axes) is None:
            self._set_of(labels, marks, others)
            return Labels(labels.atoms, mix(own, marks, places(marks.shape, others)))
        return Labels(labels.atoms, mix(own, marks, total(marks, axes)))

    def _batch_norm(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        labels = self._labels(args[0], name)
        rank = labels.atoms.ndim
        found = Labels(labels.atoms, mix(key(name), self.ties.marks(labels)))
        for tensor in args[1:5]:
            if isinstance(tensor, Tensor) and isinstance(own := self.known.get(id(tensor)), Parameter):
                shaped = own.index.reshape([1, -1, *(1,) * (rank - 2)])
                found = Labels(found.atoms, self._attach(Parameter(own.name, shaped), found, name))
        if args[5] is True or not isinstance(args[3], Tensor):  # statistics of the batch: all places of a channel enter
            axes = [a for a in range(rank) if a != 1]
            found = self._normed(found, axes, key("batch"))
        return [found]

    def _layer_norm(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        labels = self._labels(args[0], name)
        rank = labels.atoms.ndim
        found = self._normed(labels, list(range(rank - len(args[1]), rank)), key(name))
        return [self._affine(name, found, args[2:4], lambda index: index)]

    def _group_norm(self, name: str, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> list[Tracked]:
        x, groups = args[0], int(args[6])
        labels = self._labels(x, name)
        shape = labels.atoms.shape
        parts = (shape[0], groups, shape[1] // groups, *shape[2:])
        split = Labels(labels.atoms.reshape(parts), labels.marks.reshape(parts))
        normed = self._normed(split, list(range(2, len(parts))), key(name))
        found = Labels(normed.atoms.reshape(shape), normed.marks.reshape(shape))
        return [self._affine(name, found, args[1:3], lambda index: index.reshape([1, -1, *(1,) * (len(shape) - 2)]))]

    def _affine(self, name: str, labels: Labels, tensors: Sequence[Any], shaped: Callable[[Atoms], Atoms]) -> Labels:
        for tensor in tensors:
            if isinstance(tensor, Tensor) and isinstance(own := self.known.get(id(tensor)), Parameter):
                labels = Labels(labels.atoms, self._attach(Parameter(own.name, shaped(own.index)), labels, name))
        return labels


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for part in value.values() for tensor in _tensors(part)]
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, list | tuple) else []


def _replaced(value: Any, by: dict[int, Tensor]) -> Any:
    """The same nest with other tensors in it."""
    if isinstance(value, Tensor):
        return by[id(value)]
    if isinstance(value, dict):
        return {name: _replaced(part, by) for name, part in value.items()}
    return type(value)(_replaced(part, by) for part in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """A nest without its tensors: what else an operation depends on."""
    if isinstance(value, Tensor):
        return None
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
