"""What a record must hold to be drawn: a line that lacks it is named, before any figure is begun."""

import json
import math
from collections.abc import Mapping
from typing import Any

from landscape_cli.errors import LandscapeError

_DISTANCE = (("a", "b"), ("distance",))
# Texts and numbers that a figure of such a record cannot do without; a number may be NaN, as of a diverged run.
REQUIRED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "run": (("path",), ()),
    "barrier": (
        ("a", "b", "split"),
        ("error_sup", "error_mid", "error_chord", "loss_sup", "loss_mid", "loss_chord", "error_a", "error_b"),
    ),
    "path-point": (("a", "b", "split"), ("alpha", "error")),
    "barrier-summary": (("split",), ("spawn_epoch", "pairs", "error_sup_mean", "error_ends")),
    "curve": (("path", "split"), ("error_sup", "line_error_sup")),
    "weight-distance": _DISTANCE,
    "relu-distance": _DISTANCE,
    "function-distance": _DISTANCE,
    "gradient-distance": _DISTANCE,
    "kernel-distance": _DISTANCE,
    "comparison": (("a", "b"), ()),
    "kernel-velocity": (("path", "form"), ("epoch", "dt", "velocity", "samples")),
    "linearization": (("parent",), ("spawn_epoch", "order", "test_error")),
    "kernel-regression": (("parent", "kernel"), ("spawn_epoch", "samples", "kernel_test_error")),
    "hessian": (("path", "curvature"), ("lambda_max", "parameters", "samples")),
    "escape": (
        ("path", "optimizer"),
        ("escape_scale_free", "escape_gradient_descent", "batch_size", "minibatches", "samples"),
    ),
}  # fmt: skip
# Numbers that are drawn where they are there; null stands for none.
OPTIONAL = frozenset({
    "step", "step_a", "step_b", "epoch", "epoch_a", "epoch_b", "spawn_epoch", "spawn_step", "error_barrier",
    "error_barrier_sd", "function_distance", "relu_distance", "kernel_distance", "gradient_distance", "weight_distance",
    "error_sup_std", "repeats", "test_error_sd", "low_lr_test_error", "low_lr_test_error_sd", "parent_test_error",
    "advantage", "advantage_sd", "lambda_max_sd", "trace", "trace_error", "overlap", "overlap_expected",
    "gradient_overlap", "escape_scale_free_error", "noise_scale", "effective_lr", "effective_sharpness",
})  # fmt: skip
FINITE = frozenset({  # times and counts
    "step", "step_a", "step_b", "epoch", "epoch_a", "epoch_b", "spawn_epoch", "spawn_step", "order", "repeats",
    "samples", "pairs", "minibatches", "parameters", "batch_size", "dt", "alpha",
})  # fmt: skip
SPREADS = frozenset({
    "error_barrier_sd", "error_sup_std", "test_error_sd", "low_lr_test_error_sd", "advantage_sd", "lambda_max_sd",
    "trace_error", "escape_scale_free_error",
})  # fmt: skip
NAMES = ("split", "form", "layer", "along")  # texts that are there or not
_DENSITY = ("grid", "values", "error")


def check(record: Mapping[str, Any], place: str, error: type[LandscapeError]) -> None:
    """Refuse a record that no figure can be drawn of.

    Args:
        record: With its kind.
        place: Where it stands, for the message.
        error: Which kind of error to raise.

    Raises:
        LandscapeError: Of that kind, if an entry is missing or is nothing of its sort.
    """
    kind = str(record["kind"])
    hint = "is it a whole record, as its command wrote it?"
    texts, numbers = REQUIRED.get(kind, ((), ()))
    for name in (*texts, *numbers):
        if record.get(name) is None:
            raise error(f"{place} is a {kind} record without '{name}'", hint)
    for name in (*texts, *NAMES):
        if record.get(name) is not None and not isinstance(record[name], str):
            raise error(f"{place}: '{name}' is {_shown(record[name])}, no text", hint)
    if kind not in REQUIRED:
        return
    for name in (*numbers, *OPTIONAL.intersection(record)):
        if record[name] is not None and not _is_number(record[name]):
            raise error(f"{place}: '{name}' is {_shown(record[name])}, no number", hint)
        if name in FINITE and record[name] is not None and not math.isfinite(record[name]):
            raise error(f"{place}: '{name}' is {_shown(record[name])}, no finite number", hint)
        if name in SPREADS and record[name] is not None and record[name] < 0:
            raise error(f"{place}: '{name}' is {_shown(record[name])}, and no spread is below zero", hint)
    if kind == "hessian":
        _check_spectrum(record, place, error, hint)


def _check_spectrum(record: Mapping[str, Any], place: str, error: type[LandscapeError], hint: str) -> None:
    density = record.get("density")
    lists = {"eigenvalues": record.get("eigenvalues")}
    if density is not None:
        if not isinstance(density, Mapping) or not _is_number(density.get("width")):
            raise error(f"{place}: 'density' is {_shown(density)}, no density", hint)
        lists |= {f"density.{name}": density.get(name) for name in _DENSITY}
        nodes = density.get("nodes")
        if not isinstance(nodes, list) or not nodes or not all(isinstance(node, list) for node in nodes):
            raise error(f"{place}: 'density.nodes' is {_shown(nodes)}, no list of lists", hint)
    if record.get("overlap") is not None:
        lists["overlap_dimensions"] = record.get("overlap_dimensions")
        if record.get("overlap_expected") is None or not record.get("overlap_dimensions"):
            raise error(f"{place} is a hessian record whose overlap is not whole", hint)
    for name, values in lists.items():
        if not isinstance(values, list) or not all(map(_is_number, values)):
            raise error(f"{place}: '{name}' is {_shown(values)}, no list of numbers", hint)
    if density is not None and len({len(density[name]) for name in _DENSITY}) > 1:
        raise error(f"{place}: the density's grid, values and errors have different lengths", hint)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:39]}…"
