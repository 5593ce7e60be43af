"""What each op that is rounded adds to the noise of a model's outputs, measured one at a time.

A model is run with one tensor rounded to int8, or with one layer's weights in int8, and its outputs are compared with
those of the float model. Noise is small and enters at many places that do not know of each other, so that its power
adds; what it adds up to is measured again once a plan is made.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.parity.sqnr import Outputs, outputs_of, worst_sqnr_db
from converters.quantize.delegated import CLAMPS, HYBRID, SHARED, WEIGHTED
from converters.quantize.plan import OpPlan
from converters.quantize.ranges import Parameters
from converters.quantize.rewrite import Rewriter
from converters.quantize.weights import quantise_weights
from evit_mobile.arrays import Array
from evit_mobile.runtimes import RUNTIMES
from evit_mobile.specs import IoType, Precision
from evit_mobile.tflite.file import Tflite
from evit_mobile.tflite.flatbuffer import pack
from evit_mobile.tflite.graph import Graph, Op

#: Probes at a time: one is packed while another runs.
_AT_A_TIME = 2


@dataclass(frozen=True)
class Noise:
    """Power of the noise over that of the worst output, by what is rounded; what is not in it could not be measured.

    Attributes:
        rounded: tensors, by the first that holds the values; see ``first_holders``.
        hybrid: layers with int8 weights and an input that is rounded row by row.
        weights: layers with int8 weights alone.
        holders: by tensor the first that holds its values.
    """

    rounded: Mapping[int, float]
    hybrid: Mapping[int, float]
    weights: Mapping[int, float]
    holders: Mapping[int, int] = field(repr=False)

    def of_tensor(self, tensor: int) -> float:
        """Of rounding ``tensor`` to int8."""
        return self.rounded.get(self.holders.get(tensor, tensor), 0.0)

    def of_weights(self, op: int) -> float:
        """Of the int8 weights of ``op``."""
        return self.weights.get(op, self.hybrid.get(op, 0.0))


class Prober:
    """Runs a float model with one thing rounded.

    Args:
        model: float32, as it was lowered.
        inputs: to run on; each an array for each input of the model.
    """

    def __init__(self, model: Tflite, inputs: Sequence[Sequence[Array]]) -> None:
        self._model, self._graph, self._inputs = model, model.graph, inputs
        self._tree = model.editable_tree()
        self._reference = self.outputs(model)

    def outputs(self, model: Tflite) -> list[Outputs]:
        """What a file of the same model gives."""
        with model.on_disk() as path:
            return outputs_of(path, RUNTIMES["litert"], self._inputs)

    def noise(self, content: bytes) -> float:
        """Power of the noise of a file's outputs over that of the worst output."""
        decibels = worst_sqnr_db(self._reference, self.outputs(Tflite(content, self._model.name)))
        return 0.0 if decibels is None else float(10 ** (-decibels / 10))

    def measure(self, parameters: Mapping[int, Parameters], layers: Collection[int]) -> Noise:
        """The noise of each tensor in ``parameters`` and of each of ``layers``."""
        holders = first_holders(self._graph)
        held = {holders.get(index, index) for index in parameters if not self._graph.tensors[index].constant}
        tensors = sorted(held & parameters.keys())
        ops = [self._graph.ops[index] for index in layers]
        hybrid = [op for op in ops if op.type in HYBRID]
        alone = [op for op in ops if op.type not in HYBRID]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            rounded = pool.map(lambda index: self._rounded(index, parameters), tensors)
            as_hybrid, as_weights = pool.map(self._hybrid, hybrid), pool.map(self._weights, alone)
            return Noise(
                dict(zip(tensors, rounded)),
                dict(zip([op.index for op in hybrid], as_hybrid)),
                dict(zip([op.index for op in alone], as_weights)),
                holders,
            )

    def _rounded(self, tensor: int, parameters: Mapping[int, Parameters]) -> float:
        known = {tensor: parameters[tensor]}
        return self._noise_of(Rewriter(self._copy(), known, None, encoded=True), frozenset())

    def _hybrid(self, op: Op) -> float:
        return self._noise_of(Rewriter(self._copy(), {}, None), frozenset({op.index}))

    def _noise_of(self, rewriter: Rewriter, dynamic: Collection[int]) -> float:
        plan = [
            OpPlan(op.index, op.type, "", Precision.DYNAMIC if op.index in dynamic else Precision.FP32, "")
            for op in self._graph.ops
        ]
        return self.noise(self._packed(rewriter.write(plan, IoType.FLOAT32, IoType.FLOAT32).tree))

    def _weights(self, op: Op) -> float:
        tree, index = self._copy(), op.inputs[1]
        values = self._graph.tensors[index].values()
        assert values is not None
        rounded = quantise_weights(values, op.type).dequantised().astype(np.float32)
        tree.buffers[tree.subgraphs[0].tensors[index].buffer].data = np.frombuffer(rounded.tobytes(), np.uint8)
        return self.noise(self._packed(tree))

    def _packed(self, tree: Any) -> bytes:
        return pack(tree, len(self._model.content))

    def _copy(self) -> Any:
        """The model's object tree to be edited, its buffers' contents shared."""
        tree = copy.copy(self._tree)
        tree.buffers = [copy.copy(buffer) for buffer in self._tree.buffers]
        tree.subgraphs, tree.signatureDefs, tree.operatorCodes, tree.metadata = (
            copy.deepcopy(part)
            for part in (self._tree.subgraphs, self._tree.signatureDefs, self._tree.operatorCodes, self._tree.metadata)
        )
        return tree


def first_holders(graph: Graph) -> dict[int, int]:
    """By tensor that an op only moves or clamps values into: the tensor that the values were in before."""
    holders: dict[int, int] = {}
    for op in graph.ops:
        computed = [index for index in op.inputs if not graph.tensors[index].constant]
        moves = op.type in SHARED - {"RESIZE_BILINEAR", "CONCATENATION"} or op.type in CLAMPS
        if moves and len(computed) == 1:
            holders |= dict.fromkeys(op.outputs, holders.get(computed[0], computed[0]))
    return holders


def layers_of(graph: Graph) -> list[Op]:
    """Ops with constant weights."""
    return [op for op in graph.ops if op.type in WEIGHTED and graph.tensors[op.inputs[1]].constant]
