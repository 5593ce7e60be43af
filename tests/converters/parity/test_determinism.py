"""Networks that are no functions of their input are told from those that are."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from converters.onnx_session import open_session
from converters.parity.comparison import Comparison, ParityRow
from converters.parity.determinism import check_repeats, run_repeatable
from converters.parity.differences import CRITERIA, compare
from converters.parity.expected import Expected
from converters.parity.reference import Reference
from converters.parity.stimuli import Stimulus
from converters.source.load import module_source
from evit_mobile.errors import RequestError
from evit_mobile.specs import OutputLayout, Precision, Resolution

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)


class Net(nn.Module):
    """``function(self, image)``, with a buffer, a counter and a generator to spoil it."""

    def __init__(self, function: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.numbers = itertools.count()

    def forward(self, image: Tensor) -> Tensor:
        return self.function(self, image)


def _moving_average(net: Net, image: Tensor) -> Tensor:
    net.mean.mul_(0.9).add_(0.1 * image.mean((0, 2, 3)).reshape(3, 1, 1))
    return image * 2


def test_a_function_of_its_input_is_run() -> None:
    outputs = run_repeatable(Net(lambda net, image: image * 2 + net.mean), [IMAGE], (), "net")
    np.testing.assert_array_equal(outputs["output"], 2 * IMAGE)


@pytest.mark.parametrize(
    "function, reason",
    [
        (_moving_average, "buffer mean changes"),
        (lambda net, image: nn.functional.dropout(image, 0.5, training=True), "it draws random numbers"),
        (lambda net, image: image + 0 * torch.rand(1), "it draws random numbers"),
        (lambda net, image: image + float(next(net.numbers)), "output output differs between two calls"),
        (lambda net, image: image + float(np.random.random()), "output output differs between two calls"),
    ],
)
def test_what_is_none_is_refused(function: Callable[[Net, Tensor], Tensor], reason: str) -> None:
    with pytest.raises(RequestError, match=f"net is not a function of its input: {reason}"):
        run_repeatable(Net(function), [IMAGE], (), "net")


def test_values_that_are_not_finite_may_repeat() -> None:
    outputs = run_repeatable(Net(lambda net, image: torch.log(image)), [IMAGE], (), "net")
    assert np.isnan(outputs["output"]).any()


def _graph(*, drops: bool) -> onnx.ModelProto:
    """A ReLU; then, where it ``drops``, a dropout in training mode."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, IMAGE.shape) for name in ("image", "output")]
    nodes = [helper.make_node("Relu", ["image"], ["kept" if drops else "output"])]
    if drops:
        nodes.append(helper.make_node("Dropout", ["kept", "ratio", "training"], ["output"]))
    constants = [numpy_helper.from_array(np.array(0.5, np.float32), "ratio")]
    constants.append(numpy_helper.from_array(np.array(True), "training"))
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_graph_that_draws_is_told() -> None:
    """Oracle: ONNX Runtime, whose first two calls drop the same values."""
    for drops in (False, True):
        run = open_session(_graph(drops=drops))
        outputs = run({"image": IMAGE})
        if not drops:
            check_repeats(run, {"image": IMAGE}, outputs, "net")
            continue
        with pytest.raises(RequestError, match="net is not a function of its input: output output differs"):
            check_repeats(run, {"image": IMAGE}, outputs, "net")


def test_the_check_and_verify_do_not_take_it_for_rounding() -> None:
    """A file without the dropout is beside it as if the graph's own rounding were as large as its values."""
    source = dataclasses.replace(module_source(nn.ReLU().eval(), Resolution(8, 8)), module=None)
    graph, kept = _graph(drops=True), np.maximum(IMAGE, 0)
    expected = Expected(source, graph)
    case = expected.case("noise", {"image": IMAGE})
    expected.cases()
    with pytest.raises(RequestError, match="is not a function of its input"):
        expected.contradicts(case, "output", expected.difference(case, "output", kept), CRITERIA[Precision.FP32])
    reference, stimulus = Reference(source, graph), Stimulus("noise", {"image": IMAGE})
    outputs = reference.run(stimulus.inputs)
    comparison = Comparison(reference, [stimulus], {"noise": outputs}, OutputLayout.NCHW)
    row = ParityRow("litert", True, 1, "noise", "output", compare(outputs["output"], kept), False)
    with pytest.raises(RequestError, match="is not a function of its input"):
        comparison.rounded([row])
