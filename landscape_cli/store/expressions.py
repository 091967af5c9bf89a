"""Conditions on the columns of a table, as a person types them: ``opt == 'sgd' and seed < 45``.

An expression is parsed with Python's own grammar and walked; nothing of it is ever executed. It may use names of
columns, numbers, texts, ``True``, ``False`` and ``None`` (missing), ``+ - * /``, comparisons (chained ones too),
``in`` and ``not in``, ``and``, ``or``, ``not`` and parentheses. A column whose name is no Python name is written in
backquotes.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError

HINT = "write it as in: opt == 'sgd' and seed < 45, or: network in ['mlp', 'resnet20'] and not error > 0.1"

Operation = Callable[[Any, Any], Any]

_COMPARISONS: dict[type[ast.cmpop], Operation] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
_ARITHMETIC: dict[type[ast.operator], Operation] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_BACKQUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`([^`]*)`""")


def evaluate(expression: str, length: int, column: Callable[[str], NDArray[Any]]) -> NDArray[np.bool_]:
    """Which rows fulfil a condition.

    Equality and order are Python's own: a missing number (NaN) is unequal to everything and neither smaller nor larger,
    a missing text is ``''``; ``x == None`` asks for either. Arithmetic runs in float64, a division by zero gives an
    infinity or NaN. A number standing for a condition is true if it is neither 0 nor missing, a text if it is not
    empty.

    Args:
        expression: The condition.
        length: The number of rows.
        column: Gives a column by its name: int64, float64, or an object array of str.

    Returns:
        One truth value a row. Cost: one pass over the rows for each operation.

    Raises:
        UsageError: If the text is no such condition, or compares texts with numbers; what is wrong is quoted.
    """
    names: dict[str, str] = {}

    def plain_name(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        placeholder = f"_quoted_{len(names)}_"
        names[placeholder] = match[1]
        return placeholder

    try:
        tree = ast.parse(_BACKQUOTED.sub(plain_name, expression).strip(), mode="eval")
        walker = _Walker(lambda name: column(names.get(name, name)), names)
        with np.errstate(all="ignore"):
            found = _truth(walker.visit(tree.body))
    except SyntaxError as error:
        raise UsageError(f"'{expression}' is no condition: {error.msg}", HINT) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"the condition cannot be read: {error}", HINT) from None
    return np.broadcast_to(np.asarray(found, dtype=bool), (length,)).copy()


class _Walker:
    """Computes a node of the parsed expression: an array over the rows, or one constant."""

    def __init__(self, column: Callable[[str], NDArray[Any]], quoted: dict[str, str]) -> None:
        self.column = column
        self.quoted = quoted

    def visit(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return self.constant(node)
        if isinstance(node, ast.Name):
            try:
                return self.column(node.id)
            except UsageError as error:
                if error.hint is not None and error.hint.startswith("did you mean"):
                    raise
                hint = f"a text stands in quotes: '{self.shown(node)}'; {error.hint}"
                raise UsageError(error.message, hint) from None
        if isinstance(node, ast.BoolOp):
            parts = [_truth(self.visit(value)) for value in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            whole = parts[0]
            for part in parts[1:]:
                whole = join(whole, part)
            return whole
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return np.logical_not(_truth(self.visit(node.operand)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            value = self.number(node.operand)
            return np.negative(value) if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](self.number(node.left), self.number(node.right))
        if isinstance(node, ast.Compare):
            return self.comparisons(node)
        raise UsageError(f"a condition cannot hold '{self.shown(node)}'", HINT)

    def constant(self, node: ast.Constant) -> Any:
        value = node.value
        if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
            return float(value) if abs(value) < 2**1023 else np.copysign(np.inf, value)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise UsageError(f"a condition cannot hold '{self.shown(node)}'", HINT)

    def number(self, node: ast.expr) -> Any:
        value = self.visit(node)
        if value is None or _is_text(value):
            raise UsageError(f"'{self.shown(node)}' is {_kind(value)}: one cannot calculate with it", HINT)
        return np.asarray(value, dtype=np.float64)

    def comparisons(self, node: ast.Compare) -> Any:
        whole: Any = True
        left = node.left
        for operation, right in zip(node.ops, node.comparators, strict=True):
            whole = np.logical_and(whole, self.comparison(left, operation, right))
            left = right
        return whole

    def comparison(self, left: ast.expr, operation: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(operation, ast.In | ast.NotIn):
            inside = self.membership(left, right)
            return inside if isinstance(operation, ast.In) else np.logical_not(inside)
        if isinstance(operation, ast.Eq):
            return self.equal(left, right)
        if isinstance(operation, ast.NotEq):
            return np.logical_not(self.equal(left, right))
        if type(operation) not in _COMPARISONS:
            raise UsageError(
                f"'is' compares nothing here: '{self.shown(left)}'", "write == or !=, as in parent == None"
            )
        a, b = self.visit(left), self.visit(right)
        if a is None or b is None:
            raise UsageError("None stands for what is missing: it is neither smaller nor larger", HINT)
        self.check_kinds(left, a, right, b)
        return _COMPARISONS[type(operation)](a, b)

    def equal(self, left: ast.expr, right: ast.expr) -> Any:
        a, b = self.visit(left), self.visit(right)
        if a is None or b is None:
            return _missing(b if a is None else a)
        self.check_kinds(left, a, right, b)
        return a == b

    def membership(self, left: ast.expr, right: ast.expr) -> Any:
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            whole: Any = False
            for element in right.elts:
                whole = np.logical_or(whole, self.equal(left, element))
            return whole
        a, b = self.visit(left), self.visit(right)
        if not (_is_text(a) and _is_text(b)):
            raise UsageError(f"'{self.shown(right)}' is no list", "as in: network in ['mlp', 'resnet20']")
        parts, texts = np.broadcast_arrays(np.asarray(a, dtype=object), np.asarray(b, dtype=object))
        found = [part in text for part, text in zip(parts.ravel(), texts.ravel(), strict=True)]
        return np.asarray(found, dtype=bool).reshape(parts.shape)

    def check_kinds(self, left: ast.expr, a: Any, right: ast.expr, b: Any) -> None:
        if _is_text(a) != _is_text(b):
            raise UsageError(
                f"'{self.shown(left)}' is {_kind(a)} and '{self.shown(right)}' is {_kind(b)}",
                "texts stand in quotes, numbers do not: opt == 'sgd' and seed < 45",
            )

    def shown(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        for placeholder, name in self.quoted.items():
            text = text.replace(placeholder, f"`{name}`")
        return text


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, np.ndarray) and value.dtype == object)


def _kind(value: Any) -> str:
    return "missing" if value is None else "text" if _is_text(value) else "a number"


def _missing(value: Any) -> Any:
    if value is None:
        return True
    if _is_text(value):
        return value == ""
    return np.isnan(value)


def _truth(value: Any) -> Any:
    if value is None:
        return False
    if _is_text(value):
        return value != ""
    return np.logical_and(np.not_equal(value, 0), np.logical_not(np.isnan(value)))
