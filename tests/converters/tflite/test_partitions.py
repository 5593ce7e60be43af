"""Reading partitions from delegate nodes, on graphs small enough to be divided by hand."""

from __future__ import annotations

from converters.tflite.partitions import Partitioning, read_partitioning
from evit_mobile.runtimes.session import OpInfo


def _chain(*names: str) -> list[OpInfo]:
    """Ops in a row: tensor 0 is the input, op i reads tensor i and writes i + 1."""
    return [OpInfo(index, name, (index,), (index + 1,)) for index, name in enumerate(names)]


def test_no_partition() -> None:
    assert read_partitioning(_chain("A", "B"), [2]) == Partitioning(0, {}, (0, 1), ())


def test_one_partition_takes_all() -> None:
    ops = [*_chain("A", "B"), OpInfo(2, "DELEGATE", (0,), (2,))]
    assert read_partitioning(ops, [2]) == Partitioning(1, {0: 0, 1: 0}, (), ())


def test_op_between_two_partitions() -> None:
    ops = [*_chain("A", "GATHER", "C"), OpInfo(3, "DELEGATE", (0,), (1,)), OpInfo(4, "DELEGATE", (2,), (3,))]
    assert read_partitioning(ops, [3]) == Partitioning(2, {0: 0, 2: 1}, (1,), ())


def test_constants_that_the_delegate_unpacked_itself_are_in_its_partition() -> None:
    """fp16 weights: DEQUANTIZE of a constant (tensor 8) feeds CONV; the delegate's node names the packed constant."""
    ops = [OpInfo(0, "DEQUANTIZE", (8,), (9,)), OpInfo(1, "CONV_2D", (0, 9), (1,)), OpInfo(2, "DELEGATE", (0, 8), (1,))]
    assert read_partitioning(ops, [1]) == Partitioning(1, {0: 0, 1: 0}, (), ())


def test_ops_that_nothing_needs_are_idle() -> None:
    """No output depends on op 0, and no partition holds it."""
    ops = [OpInfo(0, "DEAD", (0,), (7,)), OpInfo(1, "CONV_2D", (0,), (1,)), OpInfo(2, "DELEGATE", (0,), (1,))]
    assert read_partitioning(ops, [1]) == Partitioning(1, {1: 0}, (), (0,))


def test_absent_operands_and_several_outputs() -> None:
    ops = [
        OpInfo(0, "SPLIT", (0,), (1, 2)),
        OpInfo(1, "A", (1, -1), (3,)),
        OpInfo(2, "B", (2,), (4,)),
        OpInfo(3, "DELEGATE", (1,), (3,)),
    ]
    assert read_partitioning(ops, [3, 4]) == Partitioning(1, {1: 0}, (0, 2), ())
