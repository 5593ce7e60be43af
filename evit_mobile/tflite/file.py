"""A .tflite as a value: its bytes, and everything that can be read from them, each read once.

A file of several resolutions has a subgraph and a signature for each. ``Tflite.at`` chooses one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evit_mobile.errors import RequestError
from evit_mobile.processes import temporary_folder
from evit_mobile.tflite.flatbuffer import pack, read_bytes, unpack
from evit_mobile.tflite.graph import Graph, graph_of
from evit_mobile.tflite.memory import check_memory

if TYPE_CHECKING:
    from evit_mobile.tflite.description import ModelDescription


@dataclass(frozen=True)
class Tflite:
    """The bytes of a .tflite; ``name`` is what errors call it, ``path`` the file that holds them, if one does.

    The properties raise RequestError where the file is damaged, and keep what they read.
    """

    content: bytes = field(repr=False)
    name: str = "this file"
    path: Path | None = None

    @classmethod
    def read(cls, path: Path) -> Tflite:
        """The .tflite at ``path``, from wherever it comes.

        Raises:
            RequestError: the file cannot be read, is not a .tflite, is truncated or damaged, or asks for more memory
                than a file may.
        """
        file = cls(read_bytes(path), str(path), path)
        check_memory(file.tree, file.name)
        return file

    @functools.cached_property
    def tree(self) -> Any:
        """The object tree (``ModelT``), shared by all readers and never edited; see ``editable_tree``."""
        return unpack(self.content, self.name)

    def editable_tree(self) -> Any:
        """An object tree of the caller's own."""
        return unpack(self.content, self.name)

    @functools.cached_property
    def graph(self) -> Graph:
        """The primary subgraph."""
        return graph_of(self.tree, self.name)

    @functools.cached_property
    def description(self) -> ModelDescription | None:
        """What evit-mobile wrote about the model, or None for a file that it did not write."""
        from evit_mobile.tflite.description import description_in

        return description_in(self.tree, self.name)

    @property
    def in_half(self) -> bool:
        """Whether the delegate may compute it in half precision, as far as its description says."""
        return self.description is not None and self.description.in_half

    @property
    def alternatives(self) -> tuple[str, ...]:
        """The signatures to choose from, in order; none where the file has one resolution, or is not ours."""
        return tuple(self.description.signatures) if self.description is not None else ()

    def at(self, signature: str | None) -> Tflite:
        """The file as one of ``alternatives`` has it; the file itself where it has none and ``signature`` is None.

        It is a copy in which that signature and its subgraph come first, and in which the description is theirs:
        whatever reads, runs or measures the primary subgraph does so with that one. All the others are still there.

        Raises:
            RequestError: there is no such signature, or none is named where there are several.
        """
        names = self.alternatives
        if signature is None and not names:
            return self
        if signature not in names:
            known = f"{self.name} has the signatures {', '.join(names)}"
            if signature is None:
                raise RequestError(known, hint="name one by --signature")
            raise RequestError(f"{self.name} has no signature {signature!r}", hint=known if names else "leave it out")
        return self._copy_at(str(signature))

    def _copy_at(self, signature: str) -> Tflite:
        from evit_mobile.tflite.description import OWN_ENTRY
        from evit_mobile.tflite.signatures import put_first, refill

        assert self.description is not None
        tree = self.editable_tree()
        put_first(tree, signature)
        refill(tree, OWN_ENTRY, self.description.of_signature(signature).model_dump_json().encode())
        return Tflite(pack(tree, len(self.content)), f"{self.name}, signature {signature}")

    @functools.cached_property
    def signatures(self) -> list[str]:
        """Keys of the primary subgraph's signatures."""
        return [signature.signatureKey.decode() for signature in self._signatures]

    @functools.cached_property
    def signature_names(self) -> dict[int, str]:
        """Input or output tensor -> the name that a signature of the primary subgraph gives it."""
        maps = [item for entry in self._signatures for item in [*(entry.inputs or []), *(entry.outputs or [])]]
        return {item.tensorIndex: item.name.decode() for item in maps}

    @property
    def _signatures(self) -> list[Any]:
        return [entry for entry in self.tree.signatureDefs or [] if entry.subgraphIndex == 0]

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path that holds the bytes while the body runs: a runtime loads from a file."""
        if self.path is not None:
            yield self.path
            return
        with temporary_folder() as folder:
            path = folder / "model.tflite"
            path.write_bytes(self.content)
            yield path
