"""Formulas given on a command line, such as ``"clip(a, 0, 5) * 2"`` or ``"ccc > 0.3 and ref3d == 2"``.

The text is parsed into Python's syntax tree and every node is checked against a short list; nothing is ever handed to
``eval``. What is not on the list (attributes, subscripts, calls of other functions, assignments, comprehensions ...) is refused
with the place in the text.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError

MAX_LENGTH = 1000
MAX_DEPTH = 60

_BINARY: dict[type, Callable[..., Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.true_divide, ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod, ast.Pow: np.power,
}  # fmt: skip
_COMPARE: dict[type, Callable[..., Any]] = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal, ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}  # fmt: skip
_INSTEAD = {
    ast.BitAnd: "write 'and'", ast.BitOr: "write 'or'", ast.BitXor: "a power is written **", ast.Invert: "write 'not'",
}  # fmt: skip
_READ = {
    ast.Constant: "_constant", ast.Name: "_name", ast.UnaryOp: "_unaryop", ast.BinOp: "_binop", ast.BoolOp: "_boolop",
    ast.Compare: "_compare", ast.IfExp: "_ifexp", ast.Call: "_call",
}  # fmt: skip
_SINGLE_EQUALS = re.compile(r"(?<![<>=!:])=(?!=)")
MANY = 99


@dataclass(frozen=True)
class _Function:
    """A function of formulas: what it calls, and how many arguments it takes."""

    call: Callable[..., Any]
    least: int = 1
    most: int = 1


FUNCTIONS = {
    **{name: _Function(getattr(np, name)) for name in (
        "abs", "sqrt", "log", "log10", "log2", "exp", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
        "floor", "ceil", "sign", "square", "isfinite", "isnan",
    )},
    "round": _Function(np.rint),
    "clip": _Function(np.clip, 3, 3),
    "where": _Function(np.where, 3, 3),
    "arctan2": _Function(np.arctan2, 2, 2),
    "hypot": _Function(np.hypot, 2, 2),
    "min": _Function(lambda *x: reduce(np.minimum, x), 2, MANY),
    "max": _Function(lambda *x: reduce(np.maximum, x), 2, MANY),
}  # fmt: skip
"""Functions a formula may use, element by element; ``min`` and ``max`` take two arguments or more."""

CONSTANTS = {"pi": float(np.pi)}


class Expression:
    """A parsed formula: call it with an array for each of its names.

    Attributes
    ----------
    text : str
    names : frozenset of str
        Names that the formula uses, as they are spelled in the list given to `parse`.
    """

    def __init__(self, text: str, names: Iterable[str], root: Any) -> None:
        self.text = text
        self.names = frozenset(names)
        self._root = root

    @classmethod
    def parse(cls, text: str, names: Collection[str] | None = None) -> "Expression":
        """Read a formula.

        Numbers, names, ``+ - * / // ** %``, comparisons (also chained: ``0 < a < 5``), ``and``, ``or``, ``not``,
        ``x if condition else y``, `FUNCTIONS`, the constant ``pi``, and texts in quotes beside ``==`` and ``!=``.

        Parameters
        ----------
        text : str
        names : collection of str, optional
            The names that may be used, in any case (of letters); default: any name, as it is written.

        Raises
        ------
        InputError
            Names the place in the text.
        """
        return _Reader(text, names).read()

    def __call__(self, into: NDArray | None = None, /, **arrays: Any) -> NDArray:
        """Value of the formula.

        Parameters
        ----------
        into : ndarray, optional
            Memory for the value, which may be that of one of the arrays; it is filled and returned, and saves a copy.
        **arrays : array_like
            One for each of `names`, shapes that broadcast; more may be given. Integers count as float64, float32 stays float32.

        Returns
        -------
        ndarray
            Of the broadcast shape of the names used (0 dimensions for a formula without names); bool for conditions. What has no
            value (log of a negative number, division by 0) is NaN or infinite.

        Raises
        ------
        ValueError
            An array is missing.
        """
        missing = self.names - arrays.keys()
        if missing:
            raise ValueError(f"no values for {', '.join(sorted(missing))}")
        values = {name: _numbers(arrays[name]) for name in self.names}
        with np.errstate(all="ignore"):
            if into is None:
                return np.asarray(self._root(values))
            value = self._root(values, into) if isinstance(self._root, _Call) else self._root(values)
            if value is not into:
                into[...] = value
            return into

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def _numbers(value: Any) -> NDArray:
    array = np.asarray(value)
    if array.dtype.kind == "S":
        return np.char.strip(np.char.decode(array, "latin-1"), " \0")
    if array.dtype.kind == "U":
        return np.char.strip(array)
    if array.dtype.kind in "iu":
        return array.astype(np.float64)
    return array


class _Call:
    """A function of parts of the formula; the last one of all may be told where its value goes."""

    def __init__(self, call: Callable[..., Any], parts: list[Any]) -> None:
        self.call, self.parts = call, parts

    def __call__(self, values: dict[str, Any], into: NDArray | None = None) -> Any:
        arguments = [part(values) for part in self.parts]
        if into is not None and isinstance(self.call, np.ufunc):
            return self.call(*arguments, out=into)
        return self.call(*arguments)


class _Constant:
    """A number or a text: a Python float keeps float32 arrays float32."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, values: dict[str, Any]) -> Any:
        return self.value


class _Reader:
    """Turns a text into nested functions of the values of its names."""

    def __init__(self, text: str, names: Collection[str] | None) -> None:
        self.text = " ".join(text.split())
        self.allowed = None if names is None else {name.casefold(): name for name in names}
        self.used: set[str] = set()

    def read(self) -> Expression:
        if not self.text:
            raise InputError("the expression is empty")
        if len(self.text) > MAX_LENGTH:
            raise InputError(f"the expression has {len(self.text)} characters; {MAX_LENGTH} are allowed")
        try:
            tree = ast.parse(self.text, mode="eval")
        except SyntaxError as exc:
            single = _SINGLE_EQUALS.search(self.text)
            if single:
                self._stop(single.start(), "to compare, write ==")
            self._stop(max(0, (exc.offset or 1) - 1), f"not a formula ({exc.msg})")
        except (ValueError, RecursionError, MemoryError, OverflowError) as exc:
            raise InputError(f"expression {self._short()!r} is nested too deeply or holds a number too long") from exc
        root = self._node(tree.body, 0)
        if isinstance(root, _Constant) and isinstance(root.value, str):
            self._fail(tree.body, "a text stands only beside == or !=")
        return Expression(self.text, self.used, root)

    # messages -----------------------------------------------------------------------------------------------------------

    def _short(self) -> str:
        return self.text if len(self.text) <= 80 else self.text[:77] + "..."

    def _stop(self, at: int, why: str) -> NoReturn:
        near = self.text[at : at + 12]
        place = f"character {at + 1} ({near!r})" if near else "its end"
        raise InputError(f"expression {self._short()!r}: at {place}: {why}")

    def _fail(self, node: Any, why: str) -> NoReturn:
        # the tree counts bytes, people count characters
        self._stop(len(self.text.encode()[: node.col_offset].decode(errors="ignore")), why)

    # the tree -----------------------------------------------------------------------------------------------------------

    def _node(self, node: Any, depth: int) -> Callable[[dict[str, Any]], Any]:
        if depth > MAX_DEPTH:
            self._fail(node, f"nested deeper than {MAX_DEPTH} levels")
        if type(node) not in _READ:
            self._fail(node, f"{_kind(node)} cannot be used; numbers, names, + - * / // ** %, < > ==, and or not, functions can")
        return getattr(self, _READ[type(node)])(node, depth + 1)

    def _value(self, node: Any, depth: int) -> Callable[[dict[str, Any]], Any]:
        made = self._node(node, depth)
        if isinstance(made, _Constant) and isinstance(made.value, str):
            self._fail(node, "a text stands only beside == or !=")
        return made

    def _apply(self, node: Any, call: Callable[..., Any], parts: list[Any]) -> Any:
        if all(isinstance(part, _Constant) for part in parts):
            with np.errstate(all="ignore"):
                value = float(call(*[part.value for part in parts]))
            if not np.isfinite(value):
                self._fail(node, "the value of this is not a finite number")
            return _Constant(value)
        return _Call(call, parts)

    def _constant(self, node: ast.Constant, depth: int) -> Any:
        if isinstance(node.value, str):
            return _Constant(node.value.strip())
        if isinstance(node.value, bool | int | float):
            try:
                value = float(node.value)
            except OverflowError:
                value = np.inf
            if np.isfinite(value):
                return _Constant(value)
        self._fail(node, "not a finite real number")

    def _name(self, node: ast.Name, depth: int) -> Any:
        name = node.id
        if self.allowed is not None:
            name = self.allowed.get(node.id.casefold(), "")
        if not name or (self.allowed is None and node.id in CONSTANTS):
            if node.id in CONSTANTS:
                return _Constant(CONSTANTS[node.id])
            listed = sorted(self.allowed or (), key=str.casefold)
            hint = f"known: {', '.join(listed)}" if len(listed) <= 20 else f"{len(listed)} names are known"
            if node.id in FUNCTIONS:
                hint = f"the function {node.id} needs its arguments in brackets"
            self._fail(node, f"{node.id} is not a known name; {hint}")
        self.used.add(name)
        return lambda values: values[name]

    def _unaryop(self, node: ast.UnaryOp, depth: int) -> Any:
        part = self._value(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return self._apply(node, np.logical_not, [part])
        if isinstance(node.op, ast.USub):
            return self._apply(node, np.negative, [part])
        if isinstance(node.op, ast.UAdd):
            return part
        self._fail(node, _INSTEAD[type(node.op)])

    def _binop(self, node: ast.BinOp, depth: int) -> Any:
        call = _BINARY.get(type(node.op))
        if call is None:
            self._fail(node, f"this operator cannot be used; {_INSTEAD.get(type(node.op), 'use + - * / // ** or %')}")
        return self._apply(node, call, [self._value(node.left, depth), self._value(node.right, depth)])

    def _boolop(self, node: ast.BoolOp, depth: int) -> Any:
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return self._apply(node, lambda *x: reduce(join, x), [self._value(v, depth) for v in node.values])

    def _compare(self, node: ast.Compare, depth: int) -> Any:
        parts = [self._node(part, depth) for part in (node.left, *node.comparators)]
        steps = []
        for op, place in zip(node.ops, node.comparators, strict=True):
            if type(op) not in _COMPARE:
                self._fail(place, "only < <= > >= == and != compare")
            steps.append(_COMPARE[type(op)])
        if any(isinstance(p, _Constant) and isinstance(p.value, str) for p in parts):
            if len(parts) != 2 or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                self._fail(node, "a text stands only beside == or !=")
            if all(isinstance(p, _Constant) for p in parts):
                self._fail(node, "this compares two fixed values")
            return lambda values: _same_text(steps[0], *[part(values) for part in parts])

        def run(*x: Any) -> Any:
            return reduce(np.logical_and, [step(a, b) for step, a, b in zip(steps, x[:-1], x[1:], strict=True)])

        return self._apply(node, run, parts)

    def _ifexp(self, node: ast.IfExp, depth: int) -> Any:
        return self._apply(node, np.where, [self._value(part, depth) for part in (node.test, node.body, node.orelse)])

    def _call(self, node: ast.Call, depth: int) -> Any:
        name = node.func.id.casefold() if isinstance(node.func, ast.Name) else ""
        found = FUNCTIONS.get(name)
        if found is None:
            self._fail(node, f"only these functions can be called: {', '.join(sorted(FUNCTIONS))}")
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            self._fail(node, f"{name} takes its arguments by place, such as {name}({', '.join('abc'[: max(1, found.least)])})")
        if not found.least <= len(node.args) <= found.most:
            wanted = f"{found.least}" + ("" if found.most == found.least else " or more")
            self._fail(node, f"{name} takes {wanted} argument{'s' if wanted != '1' else ''}, not {len(node.args)}")
        return self._apply(node, found.call, [self._value(arg, depth) for arg in node.args])


def _same_text(equal: Callable[..., Any], left: Any, right: Any) -> Any:
    left, right = np.asarray(left), np.asarray(right)
    if left.dtype.kind != "U" or right.dtype.kind != "U":  # a text is never equal to a number
        shape = np.broadcast_shapes(left.shape, right.shape)
        return np.full(shape, equal is np.not_equal)
    return equal(left, right)


def _kind(node: Any) -> str:
    names = {
        ast.Attribute: "an attribute (a dot)", ast.Subscript: "a subscript [ ]", ast.Lambda: "a lambda",
        ast.NamedExpr: "an assignment", ast.List: "a list", ast.Tuple: "a list of values", ast.Dict: "a dictionary",
        ast.Set: "a set", ast.JoinedStr: "a text", ast.Starred: "a star",
    }  # fmt: skip
    return names.get(type(node), f"this ({type(node).__name__})")
