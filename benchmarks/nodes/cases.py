"""ONNX's node tests as networks: one input, all else a constant, as a network has it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evit_mobile.arrays import Array

if TYPE_CHECKING:
    import onnx

#: ONNX's numbers of types that are numbers.
_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16)
#: The second form of a test: its operator written out as ONNX defines it by others.
_EXPANDED = re.compile(r"_expanded.*")


@dataclass(frozen=True)
class Case:
    """A test: its model, the values of the one input that is left, and what it computes.

    Attributes:
        name: of the test.
        op: the operator that it tests; "… written out" where it is written by others.
        model: its graph; inputs but one are constants, where they are tensors.
        inputs: by name, as the test stores them.
        outputs: by name; empty where they are no tensors.
    """

    name: str
    op: str
    model: onnx.ModelProto
    inputs: dict[str, Array]
    outputs: dict[str, Array]


def case_folders() -> dict[str, Path]:
    """The folder of every node test of the installed onnx, by name."""
    from onnx.backend.test.loader import load_model_tests

    return {case.name: Path(case.model_dir) for case in load_model_tests(kind="node") if case.model_dir is not None}


def load_case(name: str, folder: Path) -> Case:
    """Read a test.

    Args:
        name: of the test.
        folder: its own.
    """
    import onnx

    model = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    given = {
        value.name: _tensor(data / f"input_{place}.pb")
        for place, value in enumerate(model.graph.input)
        if value.type.HasField("tensor_type")
    }
    kept = _kept(model)
    for value in [value for value in model.graph.input if kept is not None and value.name != kept]:
        if value.name in given:
            tensor = given.pop(value.name)
            tensor.name = value.name
            model.graph.initializer.append(tensor)
            model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, 4)  # before, constants had to be inputs too
    plain = all(value.type.HasField("tensor_type") for value in model.graph.output)
    outputs = [value.name for value in model.graph.output] if plain else []
    return Case(
        name,
        op_of(folder),
        model,
        {key: onnx.numpy_helper.to_array(tensor) for key, tensor in given.items()} if kept is not None else {},
        {key: onnx.numpy_helper.to_array(_tensor(data / f"output_{i}.pb")) for i, key in enumerate(outputs)},
    )


def _kept(model: onnx.ModelProto) -> str | None:
    """The input that stays one: the first of numbers."""
    return next((value.name for value in model.graph.input if value.type.tensor_type.elem_type in _NUMBERS), None)


def _tensor(path: Path) -> onnx.TensorProto:
    import onnx

    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return tensor


def op_of(folder: Path) -> str:
    """The operator that the test in ``folder`` tests; see ``Case.op``."""
    import onnx

    whole = folder.with_name(_EXPANDED.sub("", folder.name))
    nodes = onnx.load((whole if whole.exists() else folder) / "model.onnx").graph.node
    op: str = next((node.op_type for node in nodes if node.op_type != "Constant"), "Constant")
    return op if whole == folder or not whole.exists() else f"{op} written out"
