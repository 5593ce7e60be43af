"""Linear attention as people write it by hand is recognised, or declined with its reason, whichever exporter wrote it
down.

Oracle: PyTorch in float64. 1e-5 of the largest output, as in test_linear_attention.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from converters.source.torch_export import Exportable, Exporter, export_module
from tests.kits.graphs import noise, ops, relative_error, rewrite, run_onnx, seeded
from tests.kits.handwritten import CHANNELS, FORMS, SIZE, HandWritten

#: Forms that are left as they are, and why.
DECLINED = {"normalised_query": "q is divided before its product"}


@pytest.mark.parametrize("exporter", [Exporter.TORCHSCRIPT, Exporter.DYNAMO])
@pytest.mark.parametrize("form", FORMS, ids=[form.__name__ for form in FORMS])
def test_handwritten(form: Callable[[Tensor], Tensor], exporter: Exporter) -> None:
    module = seeded(HandWritten(form))
    shape = (1, CHANNELS, *SIZE)
    stock = export_module(Exportable(module, {"x": shape}, ("y",), form.__name__), exporter).model
    rewritten, reports = rewrite(stock)
    report = reports["linear-attention"]
    if form.__name__ in DECLINED:
        (decline,) = report.declined
        assert report.fired == 0 and DECLINED[form.__name__] in decline.reason
    else:
        assert report.fired == 1, report.declined
        assert not {"Einsum", "Gather", "Split", "Slice", "Pad", "Concat"} & ops(rewritten).keys()
    x = noise(shape)
    expected = module.double()(torch.from_numpy(x).double()).numpy()
    assert relative_error(expected, run_onnx(rewritten, x)) <= 1e-5
