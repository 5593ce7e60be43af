"""Networks that are no functions of their input are told from those that are."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from converters.parity.determinism import run_repeatable
from evit_mobile.errors import RequestError

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
