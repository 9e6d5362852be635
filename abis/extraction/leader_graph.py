# SPDX-License-Identifier: Apache-2.0
"""LEADER's network as an ONNX graph, built from the weight file of the wheel of pyfing.

The layers, their names and their order are those of ``pyfing.minutiae_end_to_end.Leader``; LEADER: Lightweight
End-to-end Attention-gated Dual Encoder-decodeR (R. Cappelli). Neither pyfing nor Keras is imported: the file is
HDF5, and numbers its layers by kind in the order that ``_ORDER`` holds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from abis.extraction import _onnx

__all__ = ["INPUT", "OUTPUTS", "leader_graph"]

INPUT = "image"
"""(1, 1, h, w) float32, grey values 0 to 255; h and w are multiples of 32."""

OUTPUTS = ("peaks", "direction", "kind")
"""(1, 1, h, w) confidence of a minutia where it is highest within 3 pixels and zero elsewhere; (1, 2, h, w) cosine
and sine of its direction, of any length; (1, 1, h, w) how sure it is that it is a ridge ending."""

_OPSET = 20  # the first with Gelu
_EPSILON = 1e-3  # of Keras' LayerNormalization

_BLOCKS = [*(f"enc1_{i}" for i in range(4)), *(f"dec1_{i}" for i in (3, 2, 1, 0))]
_ORDER = {
    "conv2d": [
        *("stem0_conv", "stem0_dilated", "stem1_conv", "stem1_dilated"),
        *("attention_d1", "attention_d3", "attention_d6", "attention_s"),
        *(f"{block}_{step}" for block in _BLOCKS for step in ("expand", "reduce", "adjust")),
        *("head0_expand", "head0_reduce", "head1_expand", "head0_adjust", "head1_reduce", "head2_expand"),
        *("head2_reduce", "head1_adjust", "head0_conv1", "head2_adjust", "head0_conv2", "head1_conv1"),
        *("position", "head2_conv1", "head1_conv2", "blur", "direction", "head2_conv2", "kind"),
    ],
    "layer_normalization": [
        *("stem0", *(f"enc0_{i}" for i in range(4)), *(f"dec0_{i}" for i in (3, 2, 1, 0)), "stem1"),
        *(*_BLOCKS, "head0_block", "head1_block", "head2_block", "head0", "head1", "head2"),
    ],
    "separable_conv2d": [*(f"enc0_{i}" for i in range(4)), *(f"dec0_{i}" for i in (3, 2, 1, 0))],
    "depthwise_conv2d": [*_BLOCKS, "head0", "head1", "head2"],
}


def leader_graph(weights: Path) -> bytes:
    """The network as a serialised ONNX model.

    Args:
        weights: ``LEADER.weights.h5``.

    Raises:
        OSError: the file cannot be read.
        KeyError: the file holds other layers.
    """
    return _Builder(_read_weights(weights)).model()


def _read_weights(path: Path) -> dict[str, list[npt.NDArray[np.float32]]]:
    """The arrays of each layer, as ``kind/name``."""
    import h5py  # noqa: PLC0415 - needed once: the graph is kept

    arrays = {}
    with h5py.File(path) as file:
        for kind, names in _ORDER.items():
            for number, name in enumerate(names):
                stored = file[f"layers/{kind}_{number}/vars" if number else f"layers/{kind}/vars"]
                arrays[f"{kind}/{name}"] = [
                    np.asarray(stored[str(i)], np.float32) for i in range(len(stored))
                ]
    return arrays


class _Builder:
    """Nodes are added in order; a value is called by the name of what made it."""

    def __init__(self, weights: dict[str, list[npt.NDArray[np.float32]]]) -> None:
        self._weights = weights
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def model(self) -> bytes:
        """The whole network, from the image to the three maps."""
        for name, value in zip(OUTPUTS, self._network(), strict=True):
            self._node("Identity", [value], name=name)
        return _onnx.model(
            name="LEADER",
            opset=_OPSET,
            nodes=self._nodes,
            initializers=self._constants,
            inputs=[_onnx.tensor_info(INPUT, [1, 1, "height", "width"])],
            outputs=[
                _onnx.tensor_info(name, [1, channels, "height", "width"])
                for name, channels in zip(OUTPUTS, (1, 2, 1), strict=True)
            ],
        )

    def _network(self) -> tuple[str, str, str]:
        fine = self._stem("stem1", INPUT, pool="AveragePool")
        x = self._stem("stem0", INPUT, pool="MaxPool")

        skipped = []
        for i in range(4):
            x = self._separable(f"enc0_{i}", x)
            skipped.append(x)
            x = self._downsample(f"enc0_{i}", x, channels=16 << i)
        for i in (3, 2, 1, 0):
            x = self._separable(f"dec0_{i}", x)
            x = self._concatenate([self._upsample(f"dec0_{i}", x), skipped[i]])

        seen = self._concatenate(
            [self._gelu(self._convolve(f"attention_d{d}", x, dilation=d)) for d in (1, 3, 6)]
        )
        gate = self._node("Sigmoid", [self._convolve("attention_s", seen)])
        x = self._concatenate([self._node("Mul", [x, gate]), fine])

        skipped = []
        for i, channels in enumerate((32, 64, 128, 32)):
            x = self._bottleneck(f"enc1_{i}", x)
            skipped.append(x)
            x = self._downsample(f"enc1_{i}", x, channels=channels)
        for i in (3, 2, 1, 0):
            x = self._bottleneck(f"dec1_{i}", x)
            x = self._concatenate([self._upsample(f"dec1_{i}", x), skipped[i]])

        position = self._node("Sigmoid", [self._convolve("position", self._head(0, x))])
        direction = self._convolve("direction", self._head(1, x))
        kind = self._node("Sigmoid", [self._convolve("kind", self._head(2, x))])
        return self._peaks(position), direction, kind

    def _stem(self, name: str, x: str, *, pool: str) -> str:
        both = [self._convolve(f"{name}_conv", x), self._convolve(f"{name}_dilated", x, dilation=2)]
        return self._pool(pool, self._gelu(self._normalise(name, self._concatenate(both))))

    def _separable(self, name: str, x: str) -> str:
        depthwise, pointwise, bias = self._weights[f"separable_conv2d/{name}"]
        x = self._depthwise(f"{name}_depthwise", x, depthwise)
        x = self._node("Conv", [x, *self._kernel(f"{name}_pointwise", pointwise, bias)])
        return self._gelu(self._normalise(name, x))

    def _bottleneck(self, name: str, x: str, *, normalisation: str = "") -> str:
        """An inverse bottleneck: depthwise, four times as many channels, back again, added to what came in."""
        (depthwise,) = self._weights[f"depthwise_conv2d/{name}"]
        y = self._depthwise(f"{name}_depthwise", x, depthwise)
        y = self._normalise(normalisation or name, y)
        y = self._convolve(f"{name}_reduce", self._gelu(self._convolve(f"{name}_expand", y)))
        return self._convolve(f"{name}_adjust", self._node("Add", [x, y]))

    def _head(self, number: int, x: str) -> str:
        name = f"head{number}"
        x = self._upsample(name, self._bottleneck(name, x, normalisation=f"{name}_block"))
        x = self._normalise(name, self._convolve(f"{name}_conv1", x))
        return self._gelu(self._convolve(f"{name}_conv2", x))

    def _peaks(self, position: str) -> str:
        """The smoothed confidences where they are the highest of 7 by 7, zero elsewhere."""
        (blur,) = self._weights["conv2d/blur"]  # a Gaussian of 5 by 5 pixels
        kernel = self._constant("blur", blur.transpose(3, 2, 0, 1))
        smooth = self._node("Conv", [position, kernel], kernel_shape=[5, 5], pads=[2, 2, 2, 2])
        highest = self._node("MaxPool", [smooth], kernel_shape=[7, 7], pads=[3, 3, 3, 3])
        is_peak = self._node("Equal", [smooth, highest])
        return self._node("Where", [is_peak, smooth, self._constant("zero", np.zeros(1, np.float32))])

    def _downsample(self, name: str, x: str, *, channels: int) -> str:
        """Half the size: the first half of the channels by their largest value, the others by their mean."""
        sizes = self._constant(f"{name}_sizes", np.array([channels // 2, channels - channels // 2], np.int64))
        largest, mean = f"{name}_largest", f"{name}_mean"
        self._nodes.append(_onnx.node("Split", [x, sizes], [largest, mean], {"axis": 1}))
        return self._concatenate([self._pool("MaxPool", largest), self._pool("AveragePool", mean)])

    def _upsample(self, name: str, x: str) -> str:
        scales = self._constant(f"{name}_scales", np.array([1, 1, 2, 2], np.float32))
        return self._node(
            "Resize",
            [x, "", scales],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def _convolve(self, name: str, x: str, *, dilation: int = 1) -> str:
        kernel, bias = self._weights[f"conv2d/{name}"]
        side = kernel.shape[0]
        return self._node(
            "Conv",
            [x, *self._kernel(name, kernel, bias)],
            kernel_shape=[side, side],
            dilations=[dilation, dilation],
            pads=[dilation * (side // 2)] * 4,
        )

    def _depthwise(self, name: str, x: str, kernel: npt.NDArray[np.float32]) -> str:
        side, _, channels, _ = kernel.shape
        weights = self._constant(name, kernel.transpose(2, 3, 0, 1))
        return self._node(
            "Conv", [x, weights], kernel_shape=[side, side], pads=[side // 2] * 4, group=channels
        )

    def _normalise(self, name: str, x: str) -> str:
        """Layer normalisation over the channels of each pixel."""
        scale, offset = self._weights[f"layer_normalization/{name}"]
        x = self._node("Transpose", [x], perm=[0, 2, 3, 1])
        constants = [self._constant(f"{name}_scale", scale), self._constant(f"{name}_offset", offset)]
        x = self._node("LayerNormalization", [x, *constants], axis=-1, epsilon=_EPSILON)
        return self._node("Transpose", [x], perm=[0, 3, 1, 2])

    def _gelu(self, x: str) -> str:
        return self._node("Gelu", [x])

    def _pool(self, kind: str, x: str) -> str:
        return self._node(kind, [x], kernel_shape=[2, 2], strides=[2, 2])

    def _concatenate(self, values: list[str]) -> str:
        return self._node("Concat", values, axis=1)

    def _kernel(
        self, name: str, kernel: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
    ) -> tuple[str, str]:
        weights = self._constant(f"{name}_kernel", kernel.transpose(3, 2, 0, 1))
        return weights, self._constant(f"{name}_bias", bias)

    def _constant(self, name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> str:
        self._constants.append(_onnx.initializer(name, values))
        return name

    def _node(self, kind: str, inputs: list[str], *, name: str = "", **attributes: _onnx.Attribute) -> str:
        output = name or f"{kind}_{len(self._nodes)}"
        self._nodes.append(_onnx.node(kind, inputs, [output], attributes))
        return output
