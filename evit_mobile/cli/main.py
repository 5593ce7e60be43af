"""Entry point: finds commands lazily and turns errors into exit codes.

Exit codes: 0 done; 1 the thing asked for is false; 2 the request is wrong; 3 a device failed; 4 this machine failed;
130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import keyword
import os
import select
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Sequence

import click

from evit_mobile import __version__
from evit_mobile.cli.streams import tolerant_streams
from evit_mobile.errors import EvitMobileError, MachineError, RequestError
from evit_mobile.processes import EndedError, ending_signals
from evit_mobile.text import visible

#: Command name -> what it does, in the order that ``--help`` shows. Each lives in ``evit_mobile.cli.<name>`` as
#: ``command``; the modules are imported only when asked for, because torch alone takes seconds to load.
COMMANDS = {
    "models": "List the models, with counted MACs and parameters beside the paper's.",
    "convert": "Make a .tflite from a PyTorch model or an ONNX file.",
    "verify": "Check a .tflite against PyTorch and ONNX Runtime.",
    "inspect": "Show ops, delegate partitions, and which ops were not delegated, and why.",
    "devices": "List Android devices, and what to do about those that cannot be used.",
    "run": "Run a .tflite on one image: names, boxes or a mask.",
    "snippet": "Write the app code that loads a .tflite and feeds it a picture.",
    "evaluate": "Measure a .tflite's accuracy on pictures whose answers are known.",
    "bench": "Measure latency on a device.",
    "advise": "Say which precision of a model to ship on a device.",
    "report": "Make one HTML page from result files.",
    "import": "Read what other tools measured, on other people's phones.",
    "compare": "Say what became slower or faster from one result file to another.",
    "runtimes": "List or install the TFLite runtimes that models are checked on.",
    "emulator": "Set up the emulated Arm64 processors.",
    "calibrate": "Fit an estimated device to a phone.",
    "doctor": "Say what is installed and which lanes can run here.",
}


class ReaderGoneError(Exception):
    """Who read our stdout left (``| head``); not an OSError, from which click would make exit code 1."""


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        stdout = select.poll()
        stdout.register(sys.stdout, 0)  # POLLERR alone, which is always reported
        if not stdout.poll(0):
            raise MachineError("a program that this command talks to has ended") from error
        raise ReaderGoneError from error


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reader_may_leave():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_may_leave():
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # A module whose name is a keyword could not be imported by a statement.
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command = importlib.import_module(f"evit_mobile.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="evit-mobile")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """EfficientViT and other ReLU-linear-attention models: from PyTorch to TFLite, proven and measured."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with the exit code that fits."""
    args = list(sys.argv[1:] if args is None else args)
    # PyTorch's threads sleep between its many small operations. Spinning, they would take the cores of the processes
    # beside us.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    debug = "--debug" in args
    # --debug is taken anywhere on the line: it is typed after something went wrong.
    args = [arg for arg in args if arg != "--debug"]
    with tolerant_streams(), warnings.catch_warnings():
        if not debug and not sys.warnoptions:
            warnings.simplefilter("ignore")  # of libraries, about their own code
        try:
            with ending_signals():
                code = cli.main(args=args, prog_name="evit-mobile", standalone_mode=False)
        except (click.exceptions.Abort, KeyboardInterrupt) as error:
            code = _interrupted(error)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = RequestError.exit_code
        except click.ClickException as error:
            click.echo(f"error: {visible(error.format_message())}", err=True)
            code = RequestError.exit_code
        except ReaderGoneError:
            code = 0
        except SystemExit as error:
            # Our own commands end by exceptions.
            click.echo(f"error: code that was run for this command called sys.exit({error.code!r})", err=True)
            code = RequestError.exit_code
        except Exception as error:
            if debug:
                raise
            code = _explain(error)
    # The interpreter's last garbage collection walks every object of PyTorch, half a second for nothing.
    gc.freeze()
    sys.exit(code if isinstance(code, int) else 0)


def _interrupted(error: BaseException) -> int:
    """Say what ended the command: Ctrl-C, or a signal, which click wraps up as if it were Ctrl-C."""
    cause = error.__cause__ if isinstance(error, click.exceptions.Abort) else error
    if isinstance(cause, EndedError):
        click.echo(f"ended by {cause}", err=True)
        return cause.exit_code
    click.echo("interrupted", err=True)
    return 130


def _explain(error: Exception) -> int:
    """Print one clear line for ``error`` and give its exit code."""
    if isinstance(error, EvitMobileError):
        # It may quote a file or a device.
        click.echo(f"error: {visible(str(error), keep=chr(10))}", err=True)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        click.echo(
            f"error: no space left on the disk that holds {error.filename or 'the output'} (free some, then try again)",
            err=True,
        )
        return MachineError.exit_code
    if isinstance(error, OSError):
        click.echo(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
        return MachineError.exit_code
    if isinstance(error, MemoryError):
        click.echo("error: this machine ran out of memory", err=True)
        return MachineError.exit_code
    click.echo(
        f"error: {type(error).__name__}: {error} (this is a bug; run again with --debug for the traceback)", err=True
    )
    return MachineError.exit_code


if __name__ == "__main__":
    main()
