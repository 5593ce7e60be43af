"""The ordered list of graph passes, and what runs it.

To add a pass: write one file with one class that extends ``base.NodePass`` (or is a ``base.Pass``), and put an instance
into ``default_passes`` with the reason for its place in the order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from converters.passes.affine_grid import AffineGrid
from converters.passes.attention_mask import AttentionMask
from converters.passes.base import Declined, Pass, PassReport, PassResult
from converters.passes.batch_norm import BatchNorm
from converters.passes.checks import NoSoftmax
from converters.passes.convolution_1d import Convolution1d
from converters.passes.cropping_pad import CroppingPad
from converters.passes.cumulative_sum import CumulativeSum
from converters.passes.dilated_max_pool import DilatedMaxPool
from converters.passes.einsum_product import EinsumProduct
from converters.passes.exact_clamp import ExactClamp
from converters.passes.expand import Expand
from converters.passes.fold_constants import FoldConstants
from converters.passes.gather_places import GatherPlaces
from converters.passes.gelu import Gelu
from converters.passes.group_norm import GroupNorm
from converters.passes.half_normalisation import HalfNormalisation
from converters.passes.hard_sigmoid import HardSigmoid
from converters.passes.input_normalisation import InputNormalisation
from converters.passes.layer_norm import LayerNorm
from converters.passes.linear_attention import ATTENTION_FORMS, LinearAttention
from converters.passes.linear_layer import LinearLayer
from converters.passes.log_exp import LogExp
from converters.passes.long_einsum import LongEinsum
from converters.passes.lp_normalization import LpNormalization
from converters.passes.mish import Mish
from converters.passes.output_padding import OutputPadding
from converters.passes.padded_average_pool import PaddedAveragePool
from converters.passes.padded_max_pool import PaddedMaxPool
from converters.passes.plain_einsum import PlainEinsum
from converters.passes.pooled_projection import PooledProjection
from converters.passes.recurrent import Recurrent
from converters.passes.resample import Resample
from converters.passes.same_lower import SameLower
from converters.passes.scaled_elu import ScaledElu
from converters.passes.single_precision import SinglePrecision
from converters.passes.small_pool import SmallPool
from converters.passes.spatial_mean import SpatialMean
from converters.passes.split_projections import SplitProjections
from converters.passes.static_gather import StaticGather
from converters.passes.static_reshape import StaticReshape
from converters.passes.static_scatter import StaticScatter
from converters.passes.subsample import Subsample
from converters.passes.tools.graph import tidy
from converters.passes.tools.pins import pin_outputs, unpin
from converters.passes.uneven_split import UnevenSplit
from converters.passes.wide_concat import WideConcat
from evit_mobile.errors import ConversionError, EvitMobileError
from evit_mobile.specs import Target

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["ATTENTION_FORMS", "Declined", "Pass", "PassReport", "PassResult", "default_passes", "run_passes"]


def default_passes(attention_form: str = "auto") -> tuple[Pass, ...]:
    """Every pass in the order in which it runs.

    Raises:
        RequestError: there is no such attention form.
    """
    return (
        FoldConstants(),  # first: the others read constants and static shapes
        InputNormalisation(),
        SameLower(),  # before all that reads pads
        AffineGrid(),
        CumulativeSum(),
        LpNormalization(),
        SinglePrecision(),  # after the folding, which computes in double precision what is constant
        StaticScatter(),  # before all that recognises slices and concatenations
        GatherPlaces(),
        PlainEinsum(),  # before the passes that know letters alone
        LongEinsum(),
        Resample(),
        EinsumProduct(),  # after the splitting, and before all that reads matrix products
        OutputPadding(),
        Convolution1d(),
        Recurrent(),
        AttentionMask(),
        Gelu(),
        Mish(),
        LogExp(),  # after Mish, which has its softplus without one
        GroupNorm(),
        HalfNormalisation(),  # after the groups, which become instances
        BatchNorm(),
        LinearLayer(),  # before all that reads linear layers, which know them as Gemm alone
        LayerNorm(),  # before the attention, which splits the projections that take up scale and shift
        LinearAttention(attention_form),
        SplitProjections(),  # after the attention, which splits the projections of what it takes itself
        StaticGather(),  # after the splitting, which takes what it can
        HardSigmoid(),
        ExactClamp(),  # after the passes that recognise a clamp
        SpatialMean(),
        PooledProjection(),
        SmallPool(),
        CroppingPad(),
        PaddedMaxPool(),
        DilatedMaxPool(),  # after the padding
        PaddedAveragePool(),
        ScaledElu(),
        Expand(),
        Subsample(),
        UnevenSplit(),
        WideConcat(),  # after the passes that join maps
        StaticReshape(),  # after the passes that recognise what moves
        NoSoftmax(),  # last: it reports what is left
    )


def run_passes(model: ir.Model, target: Target, passes: Sequence[Pass] | None = None) -> list[PassReport]:
    """Rewrite ``model`` in place for ``target``; one report per pass, in order.

    Args:
        model: the graph, with static shapes.
        target: what it is made for.
        passes: the passes to run, in order; ``default_passes()`` where None.

    Raises:
        ConversionError: a pass failed; the message says which, and which had run before it.
    """
    reports: list[PassReport] = []
    pins = pin_outputs(model)
    for graph_pass in default_passes() if passes is None else passes:
        start = time.perf_counter()
        try:
            result = graph_pass(model, target)
            if result.fired or result.declined:  # a pass may decline with nodes already made
                tidy(model)
        except EvitMobileError:
            raise
        except Exception as error:
            before = ", ".join(report.name for report in reports) or "none"
            raise ConversionError(
                f"pass {graph_pass.name} failed: {type(error).__name__}: {error}; passes that had run: {before}",
                hint="--no-rewrite converts without passes",
            ) from error
        reports.append(
            PassReport(
                graph_pass.name, graph_pass.reason, result.fired, result.declined, round(time.perf_counter() - start, 4)
            )
        )
    unpin(model, pins)
    return reports
