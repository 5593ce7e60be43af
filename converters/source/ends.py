"""What a conversion puts at both ends of a network: the normalisation of pixels before it, softmax or sigmoid behind.

The network with its ends is the source from then on. PyTorch and ONNX Runtime compute the ends too, so that a file is
compared from pixels to probabilities.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from converters.source.load import Source
from converters.source.onnx_file import channel_axis, graph_inputs
from converters.source.outputs import flatten_outputs
from evit_mobile.arrays import Float32Array
from evit_mobile.card import HOW_TO_SAY_PIXELS
from evit_mobile.errors import RequestError
from evit_mobile.specs import Activation, Ends, Pixels, Preprocessing, Resolution
from evit_mobile.tflite.classes import ENCODINGS, SCORES, detection_outputs

if TYPE_CHECKING:
    import onnx
    from torch import Tensor, nn

#: What a network's output is called once it is no logits any more.
PROBABILITIES = "probabilities"
#: Share of the input's side that a box has at least, so that it has a logarithm: a tenth of a pixel of 1000.
_SMALLEST_SIDE = 1e-4
#: ONNX's Softmax works along one axis alone from this opset on; before, over all that follow.
_SOFTMAX_OPSET = 13


def with_ends(source: Source, ends: Ends) -> Source:
    """``source`` with its ends; itself where none are asked for.

    Raises:
        RequestError: it is not known how pictures become its input, which has to be one of 3 channels; or the network
            detects, so that its outputs are boxes and scores.
    """
    if ends == Ends():
        return source
    if ends.activation is not None and source.task == "detection":
        hint = f"leave out --{ends.activation}"
        raise RequestError(f"{source.name} gives boxes and scores, not logits of one kind", hint=hint)
    preprocessing = source.preprocessing
    if ends.pixels is not None:
        if preprocessing is None:
            problem = f"{source.name}: how a picture becomes its input is not known"
            raise RequestError(problem, hint=HOW_TO_SAY_PIXELS)
        if len(source.inputs) > 1 or source.channels != 3:
            raise RequestError(f"{source.name} takes no picture", hint="leave out --normalise-in-graph and --input")
        white = 1.0 if ends.pixels is Pixels.UNIT else 1 / 255
        preprocessing = replace(preprocessing, mean=(0.0,) * 3, std=(white,) * 3)
    outputs = source.outputs
    if ends.nms:
        if source.task != "detection" or source.module is None or source.resolution is None:
            hint = "--postprocess nms is for detectors from PyTorch; --task detection says that it is one"
            raise RequestError(f"{source.name} is no such detector", hint=hint)
        outputs = (ENCODINGS, SCORES)
    if ends.activation is not None and outputs == ("logits",):
        outputs = (PROBABILITIES,)
    wrapped = replace(
        source, ends=ends, network_preprocessing=source.preprocessing, preprocessing=preprocessing, outputs=outputs
    )
    if source.module is None:
        return wrapped
    return replace(wrapped, module=_wrapped(source.module, wrapped))


def check_activation(source: Source, stock: onnx.ModelProto) -> None:
    """Refuse a softmax or sigmoid of what are no logits; ``stock`` is the exported graph.

    Raises:
        RequestError: the network has several outputs, or gives class numbers.
    """
    import onnx

    outputs = list(stock.graph.output)
    if source.ends.activation is None:
        return
    single = len(outputs) == 1 and outputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    if not single:
        what = f"{len(outputs)} outputs" if len(outputs) > 1 else "class numbers"
        raise RequestError(f"{source.name} gives {what}, no logits", hint=f"leave out --{source.ends.activation}")


def graph_with_ends(model: onnx.ModelProto, source: Source) -> onnx.ModelProto:
    """The graph of an ONNX file with its ends, changed in place.

    Raises:
        RequestError: its input is no picture, or its opset has no softmax along one axis.
    """
    check_activation(source, model)
    normalisation = _normalisation(source)
    if normalisation is not None:
        _normalise(model, source.name, *normalisation)
    if source.ends.activation is not None:
        _activate(model, source)
    return model


def _normalisation(source: Source) -> tuple[Float32Array, Float32Array] | None:
    """Mean and deviation [3] of the pixels that the file takes; None where it normalises nothing."""
    network: Preprocessing | None = source.network_preprocessing
    if source.ends.pixels is None or network is None:
        return None
    white = 1.0 if source.ends.pixels is Pixels.UNIT else 255.0
    mean, std = (np.array(values, np.float64) * white for values in (network.mean, network.std))
    return mean.astype(np.float32), std.astype(np.float32)


def _wrapped(network: nn.Module, source: Source) -> nn.Module:
    """``network``, given pixels [1, 3, H, W]."""
    import torch
    from torch import nn

    normalisation, activation = _normalisation(source), source.ends.activation
    softmax_of_last, size = source.channels_last, source.resolution if source.ends.nms else None

    class WithEnds(nn.Module):
        mean: Tensor
        std: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            if normalisation is not None:
                mean, std = (torch.from_numpy(values).reshape(1, 3, 1, 1) for values in normalisation)
                self.register_buffer("mean", mean)
                self.register_buffer("std", std)

        def normalised(self, image: Tensor) -> Tensor:
            return image if normalisation is None else (image - self.mean) / self.std

        def forward(self, image: Tensor) -> dict[str, Tensor]:
            if size is not None:
                return _encoded(self.network, self.normalised(image), size)
            outputs = flatten_outputs(self.network(self.normalised(image)))
            if activation is None or len(outputs) > 1:
                return outputs
            ((name, value),) = outputs.items()
            if not value.is_floating_point():
                return outputs
            if activation is Activation.SIGMOID:
                return {name: torch.sigmoid(value)}
            return {name: torch.softmax(value, -1 if softmax_of_last or value.ndim != 4 else 1)}

    class WithScores(WithEnds):
        """Of a network that gives class numbers."""

        def scores(self, image: Tensor) -> Tensor:
            values: Tensor = network.scores(self.normalised(image))  # type: ignore[operator]
            return values

    return (WithScores() if hasattr(network, "scores") else WithEnds()).eval()


def _encoded(network: nn.Module, image: Tensor, size: Resolution) -> dict[str, Tensor]:
    """A detector's boxes as ``converters.tflite.postprocess`` reads them, and its scores.

    A network that can leave out the exponent of its boxes has ``encoded``. Others give boxes (x0, y0, x1, y1) in
    pixels, and their logarithm is an op that XNNPACK does not delegate.
    """
    import torch

    sides = torch.tensor([size.width, size.height], dtype=image.dtype)
    if hasattr(network, "encoded"):
        centre, logarithms, scores = network.encoded(image)  # type: ignore[operator]
        centre, logarithms = centre / sides, logarithms - torch.log(sides)
    else:
        outputs = flatten_outputs(network(image))
        named = detection_outputs({name: tuple(value.shape) for name, value in outputs.items()})
        if named is None:
            raise ValueError("a detector gives boxes [1, M, 4] and scores [1, M, classes]")
        boxes, scores = (outputs[name] for name in named)
        low, high = boxes[..., :2], boxes[..., 2:]
        centre = (low + high) * (0.5 / sides)
        logarithms = torch.log(((high - low) / sides).clamp(min=_SMALLEST_SIDE))
    parts = [part[..., place : place + 1] for part in (centre, logarithms) for place in (1, 0)]
    return {ENCODINGS: torch.cat(parts, -1), SCORES: scores}


def _normalise(model: onnx.ModelProto, name: str, mean: Float32Array, std: Float32Array) -> None:
    import onnx

    inputs = graph_inputs(model)
    shape = tuple(dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim)
    if len(inputs) > 1 or channel_axis(shape) != 1:
        raise RequestError(f"{name} takes no picture [1, 3, H, W]", hint="leave out --normalise-in-graph and --input")
    image, graph = inputs[0].name, model.graph
    centred, normalised = (_fresh(model, f"{image}_{what}") for what in ("centred", "normalised"))
    for node in graph.node:
        for place, read in enumerate(node.input):
            if read == image:
                node.input[place] = normalised
    constants = []
    for what, values in (("mean", mean), ("std", std)):
        constants.append(_fresh(model, f"{image}_{what}"))
        graph.initializer.append(onnx.numpy_helper.from_array(values.reshape(1, 3, 1, 1), constants[-1]))
    graph.node.insert(0, onnx.helper.make_node("Sub", [image, constants[0]], [centred], centred))
    graph.node.insert(1, onnx.helper.make_node("Div", [centred, constants[1]], [normalised], normalised))


def _activate(model: onnx.ModelProto, source: Source) -> None:
    import onnx

    output = model.graph.output[0]
    rank = len(output.type.tensor_type.shape.dim)
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), _SOFTMAX_OPSET)
    if source.ends.activation is Activation.SOFTMAX and rank == 4 and opset < _SOFTMAX_OPSET:
        hint = f"export it with opset {_SOFTMAX_OPSET} or newer"
        raise RequestError(f"{source.name} has opset {opset}, which has no softmax of maps", hint=hint)
    logits = _fresh(model, f"{output.name}_logits")
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == output.name:
                    names[place] = logits
    if source.ends.activation is Activation.SOFTMAX:
        axis = 1 if rank == 4 else rank - 1
        made = onnx.helper.make_node("Softmax", [logits], [output.name], f"{logits}_softmax", axis=axis)
    else:
        made = onnx.helper.make_node("Sigmoid", [logits], [output.name], f"{logits}_sigmoid")
    model.graph.node.append(made)


def _fresh(model: onnx.ModelProto, name: str) -> str:
    """``name``, or with a number behind where the graph has that already."""
    graph = model.graph
    taken = {value for node in graph.node for value in (*node.input, *node.output)}
    taken |= {item.name for items in (graph.initializer, graph.input, graph.output) for item in items}
    return next(candidate for candidate in (name, *(f"{name}_{n}" for n in range(2, 10**6))) if candidate not in taken)
