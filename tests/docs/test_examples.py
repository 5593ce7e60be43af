"""Every command and every piece of code in README and docs runs and prints what is shown.

Sybil finds the blocks. A ``console`` block's ``evit-mobile`` commands run in one folder per document, in order; the
lines after a command are its expected stdout, in which ``...`` stands for anything. A comment before a block changes
that:

* ``<!-- parse only: REASON -->``: the block needs a phone, a download or minutes. Its commands are parsed by the
  command line's own parser, and the models, suites and devices that they name must exist; nothing is run.
* ``<!-- save: FILE -->``: the block is the content of a file that later commands use.
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from android_bench.device import kind_of
from android_bench.suites.schema import SuiteFile, load_suite
from evit_mobile.cli.main import cli, main
from evit_mobile.errors import EvitMobileError
from evit_mobile.models import find_model
from evit_mobile.specs import ModelName

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DIRECTIVE = re.compile(r"^<!-- (parse only|save): (.+) -->$", re.MULTILINE)
#: Where a directive waits in a document's namespace: no name of Python's.
KEYS = {"parse only": "<parse only>", "save": "<save>"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: A suite list, which names no suite of its own.
LIST = "list"


def _directives(document: Document) -> Iterator[Region]:
    for match in DIRECTIVE.finditer(document.text):
        yield Region(match.start(), match.end(), match.groups(), _remember)


def _remember(example: Example) -> None:
    """Keep the directive for the next block."""
    kind, value = example.parsed
    example.namespace[KEYS[kind]] = value


def _python(example: Example) -> None:
    path = example.namespace.pop(KEYS["save"], None)
    if path is None:
        PythonEvaluator()(example)
    else:
        Path(path).write_text(example.parsed, encoding="utf-8")


def _suite(example: Example) -> None:
    """A block of YAML is a suite file."""
    Path("suite.yaml").write_text(example.parsed, encoding="utf-8")
    assert isinstance(load_suite("suite.yaml"), SuiteFile)


def _console(example: Example) -> None:
    parse_only = example.namespace.pop(KEYS["parse only"], None)
    for command, expected in _commands(example.parsed):
        if parse_only is not None:
            _parse(command)
        else:
            _run(command, expected, example.namespace["capsys"])


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """(command, expected stdout) of each line that begins with ``$``."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def _run(command: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(command)
    assert program == "evit-mobile", f"{command}: only evit-mobile is run here"
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    printed = capsys.readouterr()
    assert end.value.code == 0, f"{command} ended with {end.value.code}: {printed.err}"
    checker = doctest.OutputChecker()
    if expected.strip() and not checker.check_output(expected, printed.out, FLAGS):
        pytest.fail(f"{command}\n" + checker.output_difference(doctest.Example("", expected), printed.out, FLAGS))


def _parse(command: str) -> None:
    for part in re.split(r"&&|\|", command):
        program, *arguments = shlex.split(part)
        if program == "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(arguments) <= set(targets), command
        elif program == "evit-mobile":
            _parse_arguments(arguments)


def _parse_arguments(arguments: list[str]) -> None:
    """Parse as the command line does, and look up what is named; a mistake is click's or our own error."""
    command: click.Command = cli
    while isinstance(command, click.Group) and arguments:
        name, *rest = arguments
        subcommand = command.get_command(click.Context(command), name)
        if subcommand is None and name.startswith("-"):
            break
        assert subcommand is not None, f"there is no command {name}"
        command, arguments = subcommand, rest
    values = command.make_context("evit-mobile", arguments).params
    names = values.get("models") or (values["model"],) if values.get("models") or values.get("model") else ()
    for name in names:
        if ModelName.parse(name).kind == "registered":
            find_model(name)
    suite = values.get("suite") or values.get("suite_name")
    if suite and suite != LIST and not suite.endswith(".yaml"):
        load_suite(suite)
    devices = values.get("devices") or ()
    for device in devices:
        kind_of(device).settings


SYBIL = Sybil(
    [
        _directives,
        CodeBlockParser("console", _console),
        CodeBlockParser("python", _python),
        CodeBlockParser("yaml", _suite),
    ]
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples(
    path: Path,
    base_r224_tflite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """base-r224, which most pages convert, is in the cache that all tests share."""
    monkeypatch.chdir(tmp_path)
    document = SYBIL.parse(path)
    document.namespace["capsys"] = capsys
    for example in document.examples():
        example.evaluate()
    left = set(KEYS.values()) & document.namespace.keys()
    assert not left, f"a comment at the end of {path.name} stands before no block"


@pytest.mark.parametrize(
    "text",
    [
        "<!-- parse only: x -->\n```console\n$ evit-mobile convert --model base-r224 --outt x\n```\n",
        "<!-- parse only: x -->\n```console\n$ evit-mobile convert --model base-r225 --out x\n```\n",
        "<!-- parse only: x -->\n```console\n$ evit-mobile convert --model base-r224 --precision int9 --out x\n```\n",
        "<!-- parse only: x -->\n```console\n$ evit-mobile bench --suite figure-9\n```\n",
        "<!-- parse only: x -->\n```console\n$ evit-mobile bench --device abd:1\n```\n",
        "<!-- parse only: x -->\n```console\n$ evit-mobile runtimes instal all\n```\n",
        "<!-- parse only: x -->\n```console\n$ make demos\n```\n",
        "```console\n$ evit-mobile inspect absent.tflite\n```\n",
        "```console\n$ evit-mobile --version\nevit-mobile, version 9\n```\n",
        "```yaml\ntitle: no points\n```\n",
        "```python\nassert 1 > 2\n```\n",
    ],
)
def test_a_wrong_example_fails(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "page.md"
    path.write_text(text)
    document = SYBIL.parse(path)
    document.namespace["capsys"] = capsys
    with pytest.raises((AssertionError, click.ClickException, EvitMobileError, pytest.fail.Exception)):
        for example in document.examples():
            example.evaluate()
