"""One sweep over the samples: forward, cotangents back, and what each unit keeps of them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from landscape_cli.compute.tangent.choices import KernelPrecision
from landscape_cli.compute.tangent.general import jacobian_rows
from landscape_cli.compute.tangent.jacobians import (
    bias_rows,
    cut_patches,
    keep_cotangents,
    part_shape,
    product_rows,
    scale_rows,
)
from landscape_cli.compute.tangent.layers import Layer, normalized, prepared
from landscape_cli.compute.tangent.planning import Sweep, Unit
from landscape_cli.compute.tangent.products import Gram, Workspace, product_dtype
from landscape_cli.compute.tangent.recording import Call, arrived_or_zero, recording
from landscape_cli.compute.tangent.spatial import add_positions
from landscape_cli.compute.tangent.survey import Survey

BATCH = 64  # samples a forward pass at most; more are not faster (measured)
NARROW = 512  # rows narrower than this share a panel, so that their products are one


class Collector:
    """Collects what the units of a sweep need, and adds their products to kernels.

    Args:
        network: In evaluation mode.
        found: What is known of it.
        sweep: Which units.
        directions: The sweep's cotangents, ``(direction, class)``.
        samples: How many there are.
        precision: Of the products.
        work: Where everything lives.
    """

    def __init__(
        self,
        network: nn.Module,
        found: Survey,
        sweep: Sweep,
        directions: Tensor,
        samples: int,
        precision: KernelPrecision,
        work: Workspace,
    ) -> None:
        self._network, self._found, self._sweep, self._directions = network, found, sweep, directions
        self._samples, self._work = samples, work
        self._dtype = product_dtype(precision)
        self._paths = {module: path for path, module in network.named_modules()}
        self._layers = {unit.layer.module: unit.layer for unit in sweep.units if unit.layer is not None}
        self._inputs: dict[nn.Module, list[Tensor]] = {}
        self._flows: dict[int, Tensor] = {}
        self._blocks: dict[int, Tensor] = {}
        self._places: dict[int, int] = {}
        count, width = len(directions), 0
        for number, unit in enumerate(sweep.units):
            if unit.is_rows and unit.each >= NARROW:
                self._blocks[number] = work.take(f"rows {number}", (samples, count, unit.each), self._dtype)
            elif unit.is_rows:
                self._places[number] = width
                width += unit.each
            elif unit.layer is not None:
                groups, outputs = part_shape(unit.layer, unit.start, unit.stop)
                shape = (samples, groups, count, outputs, unit.layer.positions)
                if unit.kind == "outer":
                    shape = (samples, 1, count, unit.layer.outputs, 1)
                self._flows[number] = work.take(f"flow {number}", shape, self._kept_dtype(unit))
        self._panel = work.take("held rows", (samples, count, width), self._dtype)

    def _kept_dtype(self, unit: Unit) -> torch.dtype:
        # A linear layer at one position costs next to nothing, so that its factors need no rounding to bfloat16.
        return torch.float32 if unit.kind == "outer" and self._dtype == torch.bfloat16 else self._dtype

    def run(self, inputs: Tensor, memory: int) -> None:
        """Go through all samples in batches for which ``memory`` bytes are enough."""
        batch = self._batch(inputs, memory)
        for start in range(0, self._samples, batch):
            stop = min(start + batch, self._samples)
            self._run_known(inputs[start:stop], start, stop)
        self._run_general(inputs, memory)

    def _batch(self, inputs: Tensor, memory: int) -> int:
        item, count = inputs.element_size(), len(self._directions)
        each = 2 * self._found.saved
        for unit in self._sweep.units:
            if unit.kind == "rows" and unit.layer is not None:
                groups, outputs = part_shape(unit.layer, unit.start, unit.stop)
                each += item * count * groups * outputs * unit.layer.positions
        return max(1, min(BATCH, memory // max(1, each)))

    def _run_known(self, inputs: Tensor, start: int, stop: int) -> None:
        """Forward, one backward pass a direction, and what the known layers keep of a batch."""
        if not self._layers:
            return
        named = {module: self._paths[module] for module in self._layers}
        with recording(named) as calls:
            logits = self._network(inputs)
        with torch.no_grad():
            self._keep_inputs(calls, start, stop)
            units = self._normalized(calls)
        held: dict[int, Tensor] = {}
        edges = [call.edge for module in self._layers for call in calls[named[module]] if call.edge is not None]
        for number, direction in enumerate(self._directions):
            seed = direction.expand(len(inputs), -1)
            last = number == len(self._directions) - 1
            arrived = iter(
                torch.autograd.grad(logits, edges, seed, retain_graph=not last, allow_unused=True) if edges else ()
            )
            flows = {
                module: [arrived_or_zero(next(arrived) if c.edge else None, c) for c in calls[named[module]]]
                for module in self._layers
            }
            with torch.no_grad():
                self._keep_flows(flows, units, held, number, start, stop)
        with torch.no_grad():
            self._keep_rows(calls, held, start, stop)

    def _keep_inputs(self, calls: Mapping[str, list[Call]], start: int, stop: int) -> None:
        """Inputs of the units that keep factors, written into blocks for all samples."""
        for unit in self._sweep.units:
            layer = unit.layer
            if layer is None or unit.kind not in ("factors", "positions", "outer") or not unit.fixed:
                continue
            own = calls[self._paths[layer.module]]
            for number, call in enumerate(own):
                part = prepared(layer.module, call.inputs, stop - start)
                fold = len(part) // (stop - start)
                if start == 0:
                    shape = (self._samples * fold, *part.shape[1:])
                    block = self._work.take(f"inputs {layer.name} {number}", shape, self._kept_dtype(unit))
                    kept = self._inputs.setdefault(layer.module, [])
                    if len(kept) <= number:
                        kept.append(block)
                self._inputs[layer.module][number][start * fold : stop * fold].copy_(part)

    def _normalized(self, calls: Mapping[str, list[Call]]) -> dict[nn.Module, list[Tensor]]:
        return {
            module: [normalized(module, call.inputs) for call in calls[self._paths[module]]]
            for module, layer in self._layers.items()
            if not layer.is_product
        }

    def _keep_flows(
        self,
        flows: Mapping[nn.Module, list[Tensor]],
        units: Mapping[nn.Module, list[Tensor]],
        held: dict[int, Tensor],
        direction: int,
        start: int,
        stop: int,
    ) -> None:
        """One direction's cotangents, for every unit."""
        for number, unit in enumerate(self._sweep.units):
            layer = unit.layer
            if layer is None:
                continue
            own = flows[layer.module]
            if unit.kind == "bias":
                bias_rows(layer, own, self._slot(number, unit, start, stop)[:, direction])
            elif unit.kind == "scale":
                scale_rows(layer, units[layer.module], own, self._slot(number, unit, start, stop)[:, direction])
            elif unit.kind == "rows":
                if number not in held:
                    groups, outputs = part_shape(layer, unit.start, unit.stop)
                    shape = (stop - start, groups, len(self._directions), outputs, layer.positions)
                    held[number] = self._work.take(f"batch flow {number}", shape, self._dtype)
                keep_cotangents(layer, own, held[number][:, :, direction], unit.start, unit.stop)
            else:
                whole = (0, layer.outputs) if unit.kind == "outer" else (unit.start, unit.stop)
                keep_cotangents(layer, own, self._flows[number][start:stop, :, direction], *whole)

    def _keep_rows(self, calls: Mapping[str, list[Call]], held: Mapping[int, Tensor], start: int, stop: int) -> None:
        """Jacobian rows of a batch, for the units that keep them."""
        for number, flow in held.items():
            unit = self._sweep.units[number]
            layer = unit.layer
            assert layer is not None
            kept = [prepared(layer.module, c.inputs, stop - start) for c in calls[self._paths[layer.module]]]
            slot = self._slot(number, unit, start, stop)
            if layer.groups == 1 and slot.is_contiguous():
                product_rows(layer, kept, flow, unit.start, unit.stop, self._work, out=slot)
            else:
                rows = product_rows(layer, kept, flow, unit.start, unit.stop, self._work)
                slot.copy_(rows.transpose(1, 2).flatten(2))

    def _run_general(self, inputs: Tensor, memory: int) -> None:
        """Jacobian rows of the parameters that no known layer takes care of."""
        units = [(number, unit) for number, unit in enumerate(self._sweep.units) if unit.kind == "general"]
        if not units:
            return
        parameters = dict(self._network.named_parameters())
        wanted = {name: parameters[name] for _, unit in units for name in unit.parameters}
        width = sum(unit.each for _, unit in units)
        item, count = inputs.element_size(), len(self._directions)
        each = count * (2 * self._found.saved + 2 * item * width)
        batch = max(1, min(BATCH, memory // max(1, each)))
        for start in range(0, self._samples, batch):
            stop = min(start + batch, self._samples)
            rows = jacobian_rows(self._network, wanted, inputs[start:stop], self._directions)
            place = 0
            for number, unit in units:
                self._slot(number, unit, start, stop).copy_(rows[:, :, place : place + unit.each])
                place += unit.each

    def _slot(self, number: int, unit: Unit, start: int, stop: int) -> Tensor:
        """Where a unit's rows of some samples go: ``(sample, direction, column)``."""
        if number in self._blocks:
            return self._blocks[number][start:stop]
        place = self._places[number]
        return self._panel[start:stop, :, place : place + unit.each]

    def add(self, number: int, gram: Gram, parts: int) -> None:
        """Add the product of one unit, unless it shares a panel."""
        unit = self._sweep.units[number]
        if number in self._blocks:
            gram.add(self._blocks[number].view(self._samples * parts, -1))
        layer = unit.layer
        if layer is None or unit.is_rows:
            return
        flow = self._flows[number]
        samples, groups, count, outputs, _ = flow.shape
        if unit.kind == "outer":
            inner = None
            if unit.fixed:
                kept = self._inputs[layer.module]
                inner = cut_patches(layer, kept, samples, 0, layer.outputs, flow.dtype, self._work).view(samples, -1)
            gram.add_outer(inner, flow.view(samples, parts, -1), one="bias" in layer.parameters)
            return
        if unit.kind == "positions":

            def cut(start: int, stop: int, name: str) -> Tensor:
                kept = self._slices(layer, start, stop)
                return cut_patches(layer, kept, stop - start, 0, layer.outputs, flow.dtype, self._work, name)

            add_positions(gram, cut, flow[:, 0], parts, self._work)
            return
        width = groups * outputs * layer.columns
        panel = self._work.take("panel", (samples, count, width), self._dtype)
        batch = self._panel_batch(layer, groups)
        for start in range(0, samples, batch):
            stop = min(start + batch, samples)
            kept = self._slices(layer, start, stop)
            target = panel[start:stop]
            if groups == 1:
                product_rows(layer, kept, flow[start:stop], unit.start, unit.stop, self._work, out=target)
            else:
                rows = product_rows(layer, kept, flow[start:stop], unit.start, unit.stop, self._work)
                target.copy_(rows.transpose(1, 2).flatten(2))
        gram.add(panel.view(samples * parts, -1))

    def _slices(self, layer: Layer, start: int, stop: int) -> list[Tensor]:
        """The kept inputs of some samples, call by call."""
        blocks = self._inputs[layer.module]
        folds = [len(block) // self._samples for block in blocks]
        return [block[start * fold : stop * fold] for block, fold in zip(blocks, folds, strict=True)]

    def _panel_batch(self, layer: Layer, groups: int) -> int:
        """Samples whose patches are cut at once: 16 MiB of them stay in the caches."""
        each = groups * layer.positions * layer.columns * self._dtype.itemsize
        return max(1, (1 << 24) // max(1, each))

    def finish(self, grams: Mapping[str, Gram], parts: int, *, by_layer: bool) -> None:
        """Add the product of the shared panel: at once, or each layer's to its own kernel."""
        samples = self._samples
        if not by_layer:
            if self._panel.shape[2]:
                grams[""].add(self._panel.view(samples * parts, -1))
            return
        for number, unit in enumerate(self._sweep.units):
            if number in self._places:
                own = self._slot(number, unit, 0, samples)
                grams[unit.name].add(own.reshape(samples * parts, -1))
