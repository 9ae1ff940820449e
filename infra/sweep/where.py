"""Conditions on parameters, as in `fast * 2 <= slow`: comparisons and arithmetic, and nothing that could do harm."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

_Made = Callable[[Mapping[str, Any]], Any]

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.Not: operator.not_}
_LITERALS = {"true": True, "false": False, "null": None}


def condition(text: str, names: Sequence[str]) -> Callable[[Mapping[str, Any]], bool]:
    """A test of parameters; `names` are those that there are. Values that cannot be compared do not pass.

    Known are < <= > >= == !=, + - * / // %, and, or, not, brackets, numbers, text in quotes, true, false and null.
    Raises ValueError.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        raise ValueError("it is no condition: write one as in 'fast < slow'") from None
    made = _made(tree.body, names)

    def holds(params: Mapping[str, Any]) -> bool:
        try:
            return bool(made(params))
        except (TypeError, ZeroDivisionError, OverflowError):
            return False

    return holds


def _made(node: ast.expr, names: Sequence[str]) -> _Made:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return lambda params: value
        case ast.Name(id=name):
            return _named(name, names)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            apply, inner = _UNARY[type(op)], _made(operand, names)
            return lambda params: apply(inner(params))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            join, first, second = _BINARY[type(op)], _made(left, names), _made(right, names)
            return lambda params: join(first(params), second(params))
        case ast.BoolOp(op=op, values=values):
            parts, whole = [_made(one, names) for one in values], all if isinstance(op, ast.And) else any
            return lambda params: whole(part(params) for part in parts)
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARE for op in ops):
            sides = [_made(one, names) for one in (left, *rest)]
            tests = [_COMPARE[type(op)] for op in ops]
            return lambda params: all(
                test(first(params), second(params))
                for test, (first, second) in zip(tests, pairwise(sides), strict=True)
            )
    raise ValueError(f"{ast.unparse(node)!r} has no place in it: write comparisons of parameters and numbers")


def _named(name: str, names: Sequence[str]) -> _Made:
    if name in names:
        return lambda params: params[name]
    if name in _LITERALS:
        return lambda params: _LITERALS[name]
    raise ValueError(f"there is no --param {name!r}; there are {', '.join(names) or 'none'}")
