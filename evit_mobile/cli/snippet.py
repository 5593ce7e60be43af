"""``evit-mobile snippet``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evit_mobile.cli.options import card_of, card_options, force_option, one_signature_option


@click.command("snippet")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.tflite")
@click.option(
    "--lang", required=True, type=click.Choice(["kotlin", "swift", "python", "cpp"]), help="The app's language."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the code to this file.  [default: print it]")
@one_signature_option
@card_options
@force_option
def command(file: Path, lang: str, out: Path | None, signature: str | None, force: bool, **values: Any) -> None:
    """Write the app code that loads this .tflite and feeds it a picture.

    \b
    evit-mobile snippet model.tflite --lang kotlin
    evit-mobile snippet model.tflite --lang python --out app.py
    """
    from evit_mobile.files import check_output, whole_file
    from evit_mobile.vision.snippet import snippet

    labels, card = values["labels"], card_of(values)
    if out is not None:
        check_output(out, force=force, inputs=(file, labels))
    code = snippet(file, lang, card, signature)
    if out is None:
        click.echo(code, nl=False)
        return
    with whole_file(out) as temporary:
        temporary.write_text(code, encoding="utf-8")
