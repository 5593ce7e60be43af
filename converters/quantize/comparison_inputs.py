"""What the files of one model are compared on."""

from __future__ import annotations

from dataclasses import dataclass

from evit_mobile.arrays import Array
from evit_mobile.specs import Resolution
from evit_mobile.tflite.file import Tflite


@dataclass(frozen=True)
class Stimuli:
    """Inputs of a file: for each of them an array for each input of the model, in the file's layout; and what they
    are, in words.
    """

    inputs: list[list[Array]]
    words: str


def stimuli_of(model: Tflite, calibration: str | None) -> Stimuli:
    """What the files of a model are compared on: calibration inputs that were held out, else noise and a photograph.

    Args:
        model: the fp32 file.
        calibration: data of the int8 conversion, as ``--calibration`` names them; None where there are none.

    Raises:
        RequestError: the calibration data cannot be used.
    """
    from converters.parity.stimuli import verification_stimuli
    from evit_mobile.runtimes.inputs import random_input

    graph = model.graph
    tensors = [graph.tensors[index] for index in graph.inputs]
    description = model.description
    image = tensors[0].shape if len(tensors) == 1 and len(tensors[0].shape) == 4 else None
    if image is None or tensors[0].dtype != "float32" or description is None:
        return Stimuli([[random_input(tuple(tensor.shape), tensor.dtype) for tensor in tensors]], "noise")
    preprocessing = description.preprocessing
    if calibration is not None:
        from converters.quantize.calibration import open_calibration
        from converters.quantize.held_out import held_out_part
        from converters.quantize.input_format import InputFormat

        data = open_calibration(calibration, InputFormat.of(model, preprocessing))
        held_out = [[value] for value in held_out_part(data)]
        if held_out:
            return Stimuli(held_out, f"{len(held_out)} calibration inputs that were held out")
    _, height, width, channels = image
    drawn = {item.name: item.image for item in verification_stimuli(Resolution(height, width), channels, preprocessing)}
    chosen = [name for name in ("noise", "photograph") if name in drawn]
    return Stimuli([[drawn[name]] for name in chosen], " and a ".join(chosen))
