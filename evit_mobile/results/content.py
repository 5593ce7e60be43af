"""What a .tflite holds."""

from __future__ import annotations

from evit_mobile.results.entry import Count, Entry


class Content(Entry):
    """A model's precision, and its ops as a runtime divides them.

    ``ops``, ``partitions`` and ``undelegated_ops`` are the counts of ``evit-mobile inspect`` with the same runtime on
    the machine that ran the command. What is not known is None.
    """

    precision: str | None = None
    ops: Count | None = None
    partitions: Count | None = None
    undelegated_ops: Count | None = None
