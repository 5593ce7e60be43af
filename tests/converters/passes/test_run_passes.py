"""The list of passes: its order, its reports, what it guarantees about the graph, and how a pass that fails is told."""

from __future__ import annotations

import json

import onnx_ir as ir
import pytest
from torch import nn

from converters.passes import default_passes, run_passes
from converters.passes.base import PassResult
from evit_mobile.errors import MachineError
from evit_mobile.specs import Target
from tests.kits.graphs import Attention, Shape, export, noise, ops, relative_error, rewrite, run_onnx, seeded


def test_every_pass_says_what_it_is_for() -> None:
    names = [entry.name for entry in default_passes()]
    assert len(set(names)) == len(names)
    assert all(entry.reason for entry in default_passes())
    assert names[0] == "fold-constants" and names.index("layer-norm") < names.index("linear-attention")


def test_reports_are_plain_json() -> None:
    _, reports = rewrite(export(seeded(Attention(Shape(), kernel=nn.functional.elu)), Shape().image))
    report = json.loads(json.dumps(reports["linear-attention"].to_json()))
    assert set(report) == {"name", "reason", "fired", "declined", "seconds"}
    assert report["declined"][0]["where"] and report["declined"][0]["reason"]


def test_inputs_outputs_and_their_names_stay() -> None:
    stock = export(seeded(Attention(Shape())), Shape().image)
    rewritten, _ = rewrite(stock)
    assert rewritten.graph.input == stock.graph.input
    (before,), (after,) = stock.graph.output, rewritten.graph.output
    assert before == after


def test_rewriting_twice_changes_nothing() -> None:
    once, _ = rewrite(export(seeded(Attention(Shape())), Shape().image))
    twice, reports = rewrite(once)
    assert ops(twice) == ops(once) and reports["linear-attention"].fired == 0


def test_a_failing_pass_is_named() -> None:
    class Broken:
        name = "broken"
        reason = "to fail"

        def __call__(self, model: ir.Model, target: Target) -> PassResult:
            raise IndexError("no such axis")

    first, second, *_ = default_passes()
    with pytest.raises(
        MachineError, match="broken failed: IndexError: no such axis; passes that had run: fold-constants"
    ):
        run_passes(ir.from_proto(export(nn.ReLU(), (1, 1, 1, 1))), Target(), (first, Broken(), second))


def test_batch_norm_and_padding_go_into_the_convolution() -> None:
    module = seeded(
        nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    )
    stock = export(module, (1, 3, 6, 6))
    rewritten, _ = rewrite(stock)
    assert ops(stock)["Pad"] == 1 and ops(rewritten)["Pad"] == 0
    x = noise((1, 3, 6, 6))
    assert relative_error(run_onnx(stock, x), run_onnx(rewritten, x)) <= 1e-6
