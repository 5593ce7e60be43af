"""The ordered list of graph passes, and what runs it.

To add a pass: write one file with one class as in ``base.Pass``, and put an instance into ``ordered_passes`` with the reason for
its place in the order.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from converters.passes.base import Declined, Pass, PassReport, PassResult
from converters.passes.exact_clamp import ExactClamp
from converters.passes.fold_constants import FoldConstants
from converters.passes.hard_sigmoid import HardSigmoid
from converters.passes.layer_norm import LayerNorm
from converters.passes.linear_attention import ATTENTION_FORMS, LinearAttention
from converters.passes.linear_layer import LinearLayer
from converters.passes.padded_max_pool import PaddedMaxPool
from converters.passes.pooled_projection import PooledProjection
from converters.passes.small_pool import SmallPool
from converters.passes.softmax import NoSoftmax
from converters.passes.spatial_mean import SpatialMean
from converters.passes.split_projections import SplitProjections
from converters.passes.static_gather import StaticGather
from converters.passes.tools.graph import tidy
from evit_mobile.errors import EvitMobileError, MachineError
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["ATTENTION_FORMS", "PASSES", "Declined", "Pass", "PassReport", "PassResult", "ordered_passes", "run_passes"]


def ordered_passes(attention_form: str = "auto") -> tuple[Pass, ...]:
    """Every pass in the order in which it runs."""
    return (
        FoldConstants(),  # first: the others read constants and static shapes
        LayerNorm(),  # before the attention, which splits the projections that take up scale and shift
        LinearAttention(attention_form),
        SplitProjections(),  # after the attention, which splits the projections of what it takes itself
        LinearLayer(),  # after the splitting, which reads MatMul
        StaticGather(),  # after the splitting, which takes what it can
        HardSigmoid(),
        ExactClamp(),  # after the passes that recognise a clamp
        SpatialMean(),
        PooledProjection(),
        SmallPool(),
        PaddedMaxPool(),
        NoSoftmax(),  # last: it reports what is left
    )


#: The passes as an unconfigured conversion runs them.
PASSES: tuple[Pass, ...] = ordered_passes()


def run_passes(model: ir.Model, target: Target, attention_form: str = "auto") -> list[PassReport]:
    """Rewrite ``model`` in place for ``target``; one report a pass, in order.

    Raises:
        RequestError: an attention form that does not exist.
        MachineError: a pass failed; the message says which, and which had run before it.
    """
    reports: list[PassReport] = []
    for graph_pass in ordered_passes(attention_form):
        start = time.perf_counter()
        try:
            result = graph_pass(model, target)
            if result.fired or result.declined:  # a pass may decline with nodes already made
                tidy(model)
        except EvitMobileError:
            raise
        except Exception as error:
            before = ", ".join(report.name for report in reports) or "none"
            raise MachineError(
                f"pass {graph_pass.name} failed: {type(error).__name__}: {error}; passes that had run: {before}",
                hint="--no-rewrite converts without passes",
            ) from error
        reports.append(
            PassReport(
                graph_pass.name, graph_pass.reason, result.fired, result.declined, round(time.perf_counter() - start, 4)
            )
        )
    return reports
