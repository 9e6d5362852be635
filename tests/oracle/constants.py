# SPDX-License-Identifier: Apache-2.0
"""The constants of ``cpp/fingerprint/parameters.h`` and ``similarity.h`` beside it, read from those files."""

import ast
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SOURCES = Path(__file__).resolve().parents[2] / "cpp"

_DEFINITION = re.compile(r"^inline constexpr (float|int|std::\w+) (k[^;]+);", re.MULTILINE)
_LITERAL = re.compile(r"(?<![\w.])(\d+\.?\d*(?:[eE][-+]?\d+)?)F\b")
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def read_constants(text: str) -> dict[str, float]:
    """The constants that headers define, by name, with the values that the compiler gives them."""
    constants: dict[str, float] = {}
    for kind, definitions in _DEFINITION.findall(text):
        for definition in definitions.replace("parameters::", "").replace("static_cast<int>", "").split(", "):
            name, expression = definition.split(" = ")
            value = _evaluate(ast.parse(_LITERAL.sub(r"single(\1)", expression), mode="eval").body, constants)
            constants[name] = float(np.float32(value)) if kind == "float" else int(value)
    return constants


def _evaluate(node: ast.expr, constants: dict[str, float]) -> Any:
    """One expression by the rules of C++: int, double and float, here int, float and np.float32."""
    match node:
        case ast.Constant(value=int() | float() as literal):
            result: Any = literal
        case ast.Name(id=name):
            known = constants[name]
            result = known if isinstance(known, int) else np.float32(known)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            result = -_evaluate(operand, constants)
        case ast.Call(func=ast.Name(id="single"), args=[argument]):
            result = np.float32(_evaluate(argument, constants))
        case ast.Call(func=ast.Name(id="degrees_to_units"), args=[argument]):
            result = np.float32(_evaluate(argument, constants)) * DEGREES_TO_UNITS
        case ast.BinOp(left=left, op=op, right=right):
            result = _calculate(type(op), _evaluate(left, constants), _evaluate(right, constants))
        case _:
            raise ValueError(f"{ast.unparse(node)}: beyond this reader")
    return result


def _calculate(op: type[ast.operator], a: Any, b: Any) -> Any:
    """In int where both sides are, else in double where one side is, else in float."""
    if isinstance(a, int) and isinstance(b, int):
        return int(a / b) if op is ast.Div else _OPERATORS[op](a, b)
    if type(a) is not float and type(b) is not float:
        a, b = np.float32(a), np.float32(b)
    return _OPERATORS[op](a, b)


DEGREES_TO_UNITS = np.float32(256) / np.float32(360)  # cpp/fingerprint/angle.h: 256 units make a turn

HEADERS = ("fingerprint/parameters.h", "fingerprint/similarity.h")
C = read_constants("".join((SOURCES / name).read_text() for name in HEADERS))
