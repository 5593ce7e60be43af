"""``inspect --model-explorer``: what is known of each op, for Google's viewer of .tflite files."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evit_mobile.errors import RequestError

if TYPE_CHECKING:
    from converters.tflite.inspection import Inspection
    from evit_mobile.tflite.file import Tflite

_OPTIONS = (
    click.option(
        "--model-explorer",
        "folder",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Write node data for Model Explorer into FOLDER, a file for each quantity.",
    ),
    click.option(
        "--results",
        type=click.Path(path_type=Path),
        metavar="FILE.json",
        help="Node data: with the times of a result file of bench --profile.",
    ),
    click.option(
        "--against",
        type=click.Path(path_type=Path),
        metavar="FLOAT.tflite",
        help="Node data: with the SQNR of each op against the same network in float.",
    ),
)


def node_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that ``NodeDataFiles`` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass
class NodeDataFiles:
    """Files of node data in ``folder`` (None: none are wanted), one for each quantity, with the graphs that were
    added.

    Args:
        results: a result file with times of ops.
        against: a float file of the network.
        force: replace files that are there.
    """

    folder: Path | None
    results: Path | None
    against: Path | None
    force: bool
    _files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folder is None and (self.results or self.against):
            raise RequestError("--results and --against are for node data", hint="add --model-explorer FOLDER")

    def add(self, model: Tflite, signature: str | None, inspection: Inspection) -> None:
        """Take in what is known of the primary subgraph of ``model``.

        Raises:
            RequestError: the result file or the float file does not fit.
        """
        if self.folder is None:
            return
        from converters.node_data import graph_id, of_model

        found = of_model(model, inspection, results=self.results, against=self.against, signature=signature)
        for data in found:
            self._files.setdefault(data.file_name, {})[graph_id(model)] = data.to_json(model.graph)

    def write(self) -> list[Path]:
        """Write the files; their paths.

        Raises:
            RequestError: a file is there, or cannot be written.
        """
        from evit_mobile.files import check_output, whole_file

        if self.folder is None:
            return []
        paths = {self.folder / name: document for name, document in self._files.items()}
        if self.folder.parent.is_dir() and not os.path.lexists(self.folder):
            self.folder.mkdir()
        for path in paths:
            check_output(path, force=self.force)
        for path, document in paths.items():
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(document, indent=1))
        return list(paths)


def how_to_open(model: Path, paths: Iterable[Path]) -> str:
    """The command that opens a model with its node data."""
    return shlex.join(["model-explorer", str(model), f"--node_data_paths={','.join(map(str, paths))}"])
