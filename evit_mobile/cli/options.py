"""Options and helpers that several commands share."""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence, TextIO

import click

from evit_mobile.card import TASKS, ModelCard
from evit_mobile.errors import RequestError
from evit_mobile.specs import Resolution
from evit_mobile.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from evit_mobile.runtimes import Runtime
    from evit_mobile.tflite.file import Tflite

#: More threads than any machine's cores help a model only to use the system's up.
MAX_THREADS = 64
#: Bytes of a file of labels: 21,843 names of ImageNet take half a million.
LARGEST_LABELS = 2**24


class ResolutionType(click.ParamType[Resolution]):
    """``288`` or ``704x1408`` (height x width)."""

    name = "SIDE|HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Resolution:
        return value if isinstance(value, Resolution) else Resolution.parse(value)


class NumbersType(click.ParamType[tuple[float, ...]]):
    """``0.5``, or ``0.485,0.456,0.406``."""

    name = "R,G,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return value if isinstance(value, tuple) else tuple(float(item) for item in value.split(","))
        except ValueError:
            self.fail(f"{value} is not a number, or three with commas between.", param, ctx)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else."
)
force_option = click.option("--force", is_flag=True, help="Replace an existing output.")
resolution_option = click.option(
    "--resolution", type=ResolutionType(), help="Input size, e.g. 288 or 704x1408.  [default: the model's]"
)
weights_option = click.option(
    "--weights", type=click.Path(path_type=Path), help="Checkpoint: .pt, .pth or .safetensors."
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="For the weights that are not given.  [default: 0]"
)


_CARD_OPTIONS = (
    click.option("--mean", type=NumbersType(), help="Own models: mean of the pixels, as in training; with --std."),
    click.option("--std", type=NumbersType(), help="Own models: deviation of the pixels, as in training."),
    click.option("--scale", type=float, help="Own models: what a white pixel is before that, 1 or 255.  [default: 1]"),
    click.option("--task", type=click.Choice(TASKS), help="Own models: what they are for."),
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Names of the classes, one a line.  [default: those that the model knows]",
    ),
)


def card_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options by which a user says what a model is; see ``card_of``."""
    for option in reversed(_CARD_OPTIONS):
        command = option(command)
    return command


def card_of(values: dict[str, Any]) -> ModelCard:
    """Takes the values of ``card_options``, and of --classes, out of those of a command.

    Raises:
        RequestError: see ``ModelCard.of``.
    """
    names = ("mean", "std", "scale", "task", "labels", "classes")
    return ModelCard.of(**{name: values.pop(name) for name in names if name in values})


runtime_option = click.option(
    "--runtime", "runtimes", multiple=True, metavar="NAME|all", help="TFLite runtime; repeatable.  [default: litert]"
)


signature_option = click.option(
    "--signature", metavar="NAME", help="Files of several resolutions: which one, e.g. r224.  [default: all]"
)
one_signature_option = click.option(
    "--signature", metavar="NAME", help="Files of several resolutions: which one, e.g. r224."
)


def chosen_signatures(file: Tflite, signature: str | None) -> list[str | None]:
    """``signature``, or all that there are to choose from in ``file``; None stands for the file as it is."""
    return [signature] if signature is not None else [*file.alternatives] or [None]


def chosen_runtimes(names: Sequence[str]) -> list[Runtime]:
    """The runtimes of these names, in order; ``all`` gives every one, installed or not, and no name the bundled one.

    Raises:
        RequestError: there is none of that name, or one that was named is not installed.
    """
    from evit_mobile.runtimes import RUNTIMES, find_runtime

    if "all" in names:
        return list(RUNTIMES.values())
    for name in names:
        if find_runtime(name).version() is None:
            raise RequestError(f"the runtime {name} is not installed", hint=f"evit-mobile runtimes install {name}")
    return [RUNTIMES[name] for name in dict.fromkeys(names or ("litert",))]


def print_json(value: Any) -> None:
    """Print one JSON document on stdout, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def table_console(width: int = 160, *, soft_wrap: bool = False) -> Console:
    """Where tables go: as wide as the terminal, and in a log or a pipe, which has no width, of ``width``."""
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            raise  # its reader left, which is for ``main`` to handle; rich itself would call sys.exit(1)

    console = Stdout(highlight=False, markup=False, soft_wrap=soft_wrap)
    if not console.is_terminal and not soft_wrap:
        console.width = width
    return console


class FiniteRange(click.FloatRange):
    """A float in a range; unlike ``click.FloatRange`` it takes neither NaN nor infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


#: Seconds between two messages of an ``Announcer`` that differ in their numbers alone.
REPEAT_S = 10.0


class Announcer:
    """Shows progress messages to a person: on ``stream`` if that is a terminal. A message that differs from the last
    one in its numbers alone is shown every REPEAT_S seconds.

    Args:
        stream: where to; None takes stderr.
        clock: seconds, as ``time.monotonic`` gives them.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self._kind, self._shown_s = "", 0.0

    def __call__(self, text: str) -> None:
        kind, now = re.sub(r"[\d.]+", "", text), self._clock()
        if not self._stream.isatty() or (kind == self._kind and now < self._shown_s + REPEAT_S):
            return
        self._kind, self._shown_s = kind, now
        click.echo(text, file=self._stream)


@contextlib.contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show ``text`` with a spinner on stderr while the body runs; silent when stderr is not a terminal.

    Gives a function that replaces the text.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    # A file's name may read like the library's markup, and hold what a terminal acts on.
    with console.status(Text(visible(text))) as status:
        yield lambda text: status.update(Text(visible(text)))
