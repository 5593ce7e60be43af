"""``advise``: which precision of a model to ship on a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from converters.options import ConvertOptions
from evit_mobile.advice import Advice, Place, Requirement
from evit_mobile.advice import advise as advise_by
from evit_mobile.api.conversion import convert

if TYPE_CHECKING:
    from torch import nn


def advise(
    model: nn.Module | str | Path,
    place: Place = Place(),
    requirement: Requirement = Requirement(),
    options: ConvertOptions = ConvertOptions(),
) -> Advice:
    """Convert a network in every precision, measure the files on a device, and say which to ship.

    Args:
        model: see ``convert``.
        place: the device, settings of its runs, and what else it can be told.
        requirement: the SQNR, or the drop of accuracy, that the file has to keep: 30 dB unless something else is asked
            for.
        options: of every conversion; int8 needs its ``calibration``, of which a quarter is held out to test on.

    Returns:
        A row for each precision, with what was measured (or, on ``estimate:``, estimated) and what is left of the
        outputs; the one to ship, and a sentence that says why. ``save(path)`` writes that file.

    Raises:
        RequestError: the model, the device, the data or the calibration cannot be used, or fp32 cannot be made.
        DeviceError: the device is absent or went away, or no file ran on it.

    Examples:
        >>> import evit_mobile as em
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
        >>> place = em.Place("host", em.RunSettings(runs=4, rounds=2, min_time_s=0))
        >>> advice = em.advise(network, place, options=em.ConvertOptions(resolution=em.Resolution(32, 32)))
        >>> [option.precision.value for option in advice.options]
        ['fp32', 'fp16', 'dynamic', 'int8']
        >>> "needs calibration data" in advice.options[-1].refusal
        True
        >>> advice.holds(advice.chosen)
        True
    """
    return advise_by(
        lambda wanted: convert(model, wanted), place, requirement, options, ("evit_mobile.advise", place.device)
    )
