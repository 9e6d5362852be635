# SPDX-License-Identifier: Apache-2.0
"""Writing ONNX models: the few messages of ``onnx.proto`` that a graph of plain layers needs.

ONNX files are Protocol Buffers; field numbers are those of onnx.proto, IR version 9. The package onnx would add
32 MB to every installation for this; the tests hold its checker against what is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Attribute", "initializer", "model", "node", "tensor_info"]

Attribute = int | float | str | Sequence[int]

_IR_VERSION = 9
_VARINT, _FIXED32, _BYTES = 0, 5, 2  # wire types of Protocol Buffers
_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_KIND_FLOAT, _KIND_INT, _KIND_STRING, _KIND_INTS = 1, 2, 3, 7  # AttributeProto.AttributeType


def model(
    *,
    name: str,
    opset: int,
    nodes: Sequence[bytes],
    initializers: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
) -> bytes:
    """A ModelProto of one graph, made of the messages below; nodes in an order in which they can run."""
    graph = b"".join(
        [
            *(_message(1, item) for item in nodes),
            _text(2, name),
            *(_message(5, item) for item in initializers),
            *(_message(11, item) for item in inputs),
            *(_message(12, item) for item in outputs),
        ]
    )
    operators = _text(1, "") + _number(2, opset)
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, operators)


def node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Attribute]
) -> bytes:
    """A NodeProto."""
    return b"".join(
        [
            *(_text(1, value) for value in inputs),
            *(_text(2, value) for value in outputs),
            _text(4, kind),
            *(_message(5, _attribute(name, value)) for name, value in attributes.items()),
        ]
    )


def initializer(name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> bytes:
    """A TensorProto: a constant."""
    kind = _INT64 if values.dtype == np.int64 else _FLOAT
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    sizes = b"".join(_number(1, size) for size in values.shape)
    return sizes + _number(2, kind) + _text(8, name) + _message(9, data)


def tensor_info(name: str, shape: Sequence[int | str]) -> bytes:
    """A ValueInfoProto of float32; sizes that are free have names."""
    sizes = b"".join(
        _message(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape
    )
    tensor = _number(1, _FLOAT) + _message(2, sizes)
    return _text(1, name) + _message(2, _message(1, tensor))


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, str):
        kind, content = _KIND_STRING, _text(4, value)
    elif isinstance(value, float):
        kind, content = _KIND_FLOAT, _tag(2, _FIXED32) + np.array(value, "<f4").tobytes()
    elif isinstance(value, int):
        kind, content = _KIND_INT, _number(3, value)
    else:
        kind, content = _KIND_INTS, b"".join(_number(8, item) for item in value)
    return _text(1, name) + content + _number(20, kind)


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _tag(field, _BYTES) + _varint(len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _message(field, content.encode())


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number as its 64-bit two's complement."""
    value &= 2**64 - 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
