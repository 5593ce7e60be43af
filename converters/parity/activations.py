"""Intermediate values of the reference, and the names under which a .tflite may hold them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from converters.parity.layout import arrays_for
from converters.parity.reference import Reference, open_onnx_inputs
from converters.source.onnx_file import graph_inputs
from evit_mobile.arrays import Array
from evit_mobile.errors import RequestError, first_line
from evit_mobile.runtimes.litert import LITERT
from evit_mobile.runtimes.session import TensorInfo

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from converters.source.load import Source
    from evit_mobile.tflite.file import Tflite
    from evit_mobile.tflite.graph import Tensor


@dataclass(frozen=True)
class Activation:
    """A value of the reference. ``layer`` is the module, or of an ONNX source the node, that computes it.

    ``is_layer``: it is that layer's own output and is reported as such; else a step inside, which only helps to find
    matches.
    """

    name: str
    layer: str
    type: str
    value: Array
    is_layer: bool

    @functools.cached_property
    def magnitude(self) -> float:
        """Largest absolute value."""
        return float(np.abs(self.value).max(initial=0))


class Trace:
    """The reference's values on one input, in order of execution."""

    def __init__(self, activations: list[Activation], stock: onnx.ModelProto, modules: set[str]) -> None:
        self.activations = activations
        self._modules = modules
        nodes = {activation.name: activation for activation in activations}
        self._claims = dict(nodes)
        self._layers: dict[str, str] = {}
        for node in stock.graph.node:
            self._layers[node.name] = self.layer_in(node.name) or node.name
            # onnx2tf's own names for a node's NHWC input and output.
            if node.output[0] in nodes:
                self._claims[f"{node.name}_output_nhwc"] = nodes[node.output[0]]
            if node.input and node.input[0] in nodes:
                self._claims[f"{node.name}_input_nhwc"] = nodes[node.input[0]]

    def claimed(self, tensor: str) -> Activation | None:
        """The value that a .tflite tensor of this name should hold, as far as the name tells."""
        return self._claims.get(tensor)

    def layer_of_weights(self, tensors: list[str]) -> str | None:
        """The layer that weights of one of these names belong to."""
        for tensor in tensors:
            owner = max(
                (node for node in self._layers if node and tensor.startswith(f"{node}_")), key=len, default=None
            )
            if owner is not None:
                return self._layers[owner]
        return None

    def layer_in(self, name: str) -> str | None:
        """The innermost module whose scope ``name`` carries: ``/stages.2/stages.2.1/qkv/Conv`` ->
        ``stages.2.1.qkv``.
        """
        parts: list[str] = []
        for part in name.strip("/").split("/"):
            # A container's child is written with its container's name: "stages.2" is followed by "stages.2.1".
            if parts and part.startswith(f"{parts[-1]}."):
                parts.pop()
            parts.append(part)
        for start in (0, 1):  # a wrapper that names outputs adds one level in front
            for end in range(len(parts), start, -1):
                if (dotted := ".".join(parts[start:end])) in self._modules:
                    return dotted
        return None


def reference_trace(reference: Reference, inputs: Mapping[str, Array]) -> Trace:
    """Run the reference on ``inputs``, by name and in the graph's layout, and keep what it computes on the way.

    Values of modules come from PyTorch. Those of ONNX nodes, computed by ONNX Runtime, are added: they hold steps
    inside modules.
    """
    module = reference.source.module
    modules = {name for name, _ in module.named_modules() if name} if module is not None else set()
    naming = Trace([], reference.stock, modules)
    activations = list(_module_values(module, inputs)) if module is not None else []
    for node, name, value in _node_values(reference, inputs):
        layer = naming.layer_in(node.name) or node.name or name
        activations.append(Activation(name, layer, node.op_type, value, module is None))
    return Trace(activations, reference.stock, modules)


def _module_values(module: nn.Module, inputs: Mapping[str, Array]) -> Iterator[Activation]:
    """Output of every submodule that returns a tensor, in the order in which they end."""
    import torch

    values: list[Activation] = []

    def keep(name: str) -> Any:
        def hook(layer: nn.Module, _: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                # A copy: the next layer may work in place.
                values.append(Activation(name, name, type(layer).__name__, output.detach().numpy().copy(), True))

        return hook

    handles = [layer.register_forward_hook(keep(name)) for name, layer in module.named_modules() if name]
    try:
        with torch.no_grad():
            module(*(torch.from_numpy(value) for value in inputs.values()))
    finally:
        for handle in handles:
            handle.remove()
    return iter(values)


def _node_values(reference: Reference, inputs: Mapping[str, Array]) -> Iterator[tuple[onnx.NodeProto, str, Array]]:
    """Every float32 value that depends on an input, with its node."""
    stock = reference.stock
    live = {value.name for value in graph_inputs(stock)}
    nodes = {}
    for node in stock.graph.node:
        if live & set(node.input):
            for name in filter(None, node.output):
                live.add(name)
                nodes[name] = node
    values = values_of(stock, reference.source, nodes, inputs)
    return ((node, name, values[name]) for name, node in nodes.items() if values[name].dtype == np.float32)


def values_of(
    graph: onnx.ModelProto, source: Source, names: Iterable[str], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """What ONNX Runtime gives for the outputs of ``graph``, and for the values of these names that nodes compute."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    outputs = {value.name for value in graph.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    return open_onnx_inputs(probe, source)(inputs)


def tflite_values(model: Tflite, inputs: Mapping[str, Array]) -> dict[int, Array]:
    """Value of every tensor that depends on the input, by index, in float32 (dequantised), computed by TFLite's own
    kernels.

    Args:
        model: the file.
        inputs: by name, in the exported graph's layout.

    Raises:
        RequestError: LiteRT cannot load or run the model.
    """
    graph = model.graph
    indices = [index for op in graph.ops if op.depends_on_input for index in op.outputs]
    loaded = {index: as_loaded(graph.tensors[index]) for index in indices}
    try:
        with model.on_disk() as path, LITERT.open_with_values(path) as session:
            session.run(arrays_for(session.inputs, inputs))
            return {index: np.asarray(loaded[index].dequantise(session.value(index)), np.float32) for index in indices}
    except (RuntimeError, ValueError) as error:
        raise RequestError(f"LiteRT cannot run the model: {first_line(error)}") from error


def as_loaded(tensor: Tensor) -> TensorInfo:
    """A tensor of the file as a runtime describes it."""
    return TensorInfo(tensor.index, tensor.name, tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point)
