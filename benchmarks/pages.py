"""What the documentation is built from beside its text: a hook of MkDocs (``mkdocs.yml``).

A line ``<!-- table: NAME -->`` in a page becomes the Markdown that ``TABLES`` makes from recorded results or from the
package itself, so that no figure of a table is typed. Charts, the result file's JSON schema and the recorded JSON files
are generated into the site.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARK = re.compile(r"^<!-- table: ([\w/-]+) -->$", re.MULTILINE)
SCHEMA = "reference/result-file.schema.json"
#: Folders of ``results`` that hold result files of ``bench``: what the figures' page shows.
DEVICES = ("host", "qemu", "estimate")

Row = TypeVar("Row")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated files to the site."""
    from evit_mobile.results.draw.charts import charts
    from evit_mobile.results.draw.interval_plot import DARK, LIGHT
    from evit_mobile.results.files import load
    from evit_mobile.results.record import ResultSet

    # Its links are written for the repository, where docs/ is a folder below.
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8").replace("](docs/", "](../")
    files.append(File.generated(config, "explanation/security.md", content=security))
    schema = json.dumps(ResultSet.model_json_schema(), indent=1) + "\n"
    files.append(File.generated(config, SCHEMA, content=schema))
    for path in sorted(RESULTS.glob("*.json")):
        files.append(File.generated(config, f"results/data/{path.name}", abs_src_path=str(path)))
    for device in DEVICES:
        for path in sorted((RESULTS / device).glob("*.json")):
            files.append(File.generated(config, f"results/data/{device}/{path.name}", abs_src_path=str(path)))
            for chart in charts(load(path)):
                for theme, name in ((LIGHT, "light"), (DARK, "dark")):
                    target = f"results/charts/{device}-{path.stem}-{chart.key}-{name}.svg"
                    files.append(File.generated(config, target, content=chart.draw(theme, "svg", titled=False)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put each table in place of its mark."""

    def table(match: re.Match[str]) -> str:
        if match[1] not in TABLES:
            raise PluginError(f"{page.file.src_uri}: there is no table {match[1]!r}; known: {', '.join(TABLES)}")
        return TABLES[match[1]]()

    return MARK.sub(table, markdown)


def _json(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _records(kind: type[Row], rows: list[dict[str, Any]]) -> list[Row]:
    """Dataclasses from their recorded fields."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return [kind(**{name: value for name, value in row.items() if name in names}) for row in rows]


def _text(name: str) -> str:
    """A result that is recorded as Markdown alone, without its title."""
    return re.sub(r"\A# .*\n+", "", (RESULTS / f"{name}.md").read_text(encoding="utf-8"))


def _peers() -> str:
    from benchmarks.peers.compare import Result, table

    document = _json("peers")
    return table(_records(Result, document["results"]), document["machine"])


def _precision() -> str:
    from benchmarks.precision import Row, render

    document = _json("precision")
    return render(_records(Row, document["rows"]), document["machine"])


def _arm64() -> str:
    from benchmarks.peers.arm64 import Count, table

    document = _json("arm64")
    return table(_records(Count, document["counts"]), document["note"])


def _arm64_kernels() -> str:
    from benchmarks.peers.arm64_kernels import Kernels, table

    return table(_records(Kernels, _json("arm64_kernels")))


def _family() -> str:
    from benchmarks.family import render

    return render(_json("family"))


def _accuracy() -> str:
    from benchmarks.accuracy.precisions import Proof, Row
    from benchmarks.accuracy.report import render

    document = _json("accuracy")
    return _untitled(render(Proof(**{**document, "rows": _records(Row, document["rows"])})))


def _forms() -> str:
    from benchmarks.attention.compare_forms import Row, as_markdown

    document = _json("attention_forms")
    return _untitled(as_markdown(_records(Row, document["rows"]), document["machine"]))


def _forms_arm64() -> str:
    from benchmarks.attention.estimate_forms import Cost, as_markdown

    document = _json("attention_forms_arm64")
    return _untitled(as_markdown(_records(Cost, document["costs"]), document["note"]))


def _int8_arm() -> str:
    from benchmarks.quantize.arm import Row, render

    document = _json("int8_arm")
    return render(_records(Row, document["rows"]), document["device"], document["pairs"])


def _untitled(markdown: str) -> str:
    return re.sub(r"\A# .*\n+", "", markdown)


def _models() -> str:
    from evit_mobile.models import all_models

    lines = ["| name | task | input | outputs | variants |", "| --- | --- | --- | --- | --- |"]
    for spec in all_models():
        variants = ", ".join(f"`+{name}`" for name in spec.variants) or "–"
        outputs = ", ".join(f"`{name}`" for name in spec.outputs)
        lines.append(f"| `{spec.name}` | {spec.task} | {spec.resolution} | {outputs} | {variants} |")
    return "\n".join(lines) + "\n"


def _suites() -> str:
    from android_bench.suites.schema import load_suite, names

    lines = [
        "| suite | what it measures | points lie along | points | checks figure |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for name in names():
        suite = load_suite(name)
        kind = f"{suite.along} (counted, not measured)" if suite.counts_only else suite.along
        lines.append(f"| `{name}` | {suite.title} | {kind} | {len(suite.points())} | {suite.figure or '–'} |")
    return "\n".join(lines) + "\n"


def _figures() -> str:
    """Every recorded suite: its verdicts, and its charts in both colours."""
    from evit_mobile.results.draw.charts import charts
    from evit_mobile.results.files import load
    from evit_mobile.results.judge.verdicts import verdicts
    from evit_mobile.results.summary import caveats

    lines: list[str] = []
    for device in DEVICES:
        for path in sorted((RESULTS / device).glob("*.json")):
            results = load(path)
            title = results.suite.title if results.suite is not None else path.stem
            lines += [f"## {title}: {results.device.name}", "", *caveats(results), ""]
            lines += [f"[Result file](data/{device}/{path.name}), {results.created:%Y-%m-%d}.", ""]
            for verdict in verdicts(results):
                lines += [f"**{verdict.outcome.capitalize()}.** {verdict.text} {verdict.reason}", ""]
            for chart in charts(results):
                stem = f"charts/{device}-{path.stem}-{chart.key}"
                lines += [f"### {chart.title}", ""]
                lines += [f"![{chart.alt}]({stem}-{theme}.svg#only-{theme})" for theme in ("light", "dark")]
                lines += ["", chart.caption, ""]
    return "\n".join(lines)


def _result_file() -> str:
    """The fields of a result file, one table per class, the outermost class first."""
    from evit_mobile.results.record import ResultSet

    schema = ResultSet.model_json_schema()
    lines: list[str] = []
    for name, entry in ((schema["title"], schema), *reversed(schema["$defs"].items())):
        lines += [f"## {name}", "", re.sub(r"``([^`]+)``", r"`\1`", entry.get("description", "")), ""]
        lines += ["| field | type | required |", "| --- | --- | --- |"]
        for field, value in entry.get("properties", {}).items():
            required = "yes" if field in entry.get("required", ()) else "no"
            lines.append(f"| `{field}` | {_type_of(value)} | {required} |")
        lines.append("")
    return "\n".join(lines)


def _type_of(value: dict[str, Any]) -> str:
    """A JSON schema's type in words, with links to the classes on the same page."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(_type_of(item) for item in value["anyOf"])
    if "enum" in value or "const" in value:
        return ", ".join(f"`{json.dumps(item)}`" for item in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_type_of(value['items'])}" if "items" in value else "list"
    if value.get("type") == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"object of {_type_of(value['additionalProperties'])}"
    return str(value.get("format") or value.get("type", "any"))


#: What may stand in a page as ``<!-- table: NAME -->``.
TABLES: dict[str, Callable[[], str]] = {
    "accuracy": _accuracy,
    "advice": lambda: _text("advice"),
    "arm64": _arm64,
    "arm64-kernels": _arm64_kernels,
    "attention-forms": _forms,
    "attention-forms-arm64": _forms_arm64,
    "auto": lambda: _text("auto"),
    "convert": lambda: _text("convert"),
    "estimate": lambda: _text("estimate"),
    "estimate-detectors": lambda: _text("estimate_detectors"),
    "estimate-paper": lambda: _text("estimate_paper"),
    "family": lambda: _untitled(_family()),
    "figures": _figures,
    "half": lambda: _text("half"),
    "int8": lambda: _text("int8"),
    "int8-ablation": lambda: _text("int8_ablation"),
    "int8-arm": _int8_arm,
    "int8-avx2": lambda: _text("int8_avx2"),
    "int8-zoo": lambda: _text("int8_zoo"),
    "models": _models,
    "onnx-nodes": lambda: _text("onnx_nodes"),
    "peers": _peers,
    "precision": _precision,
    "qat": lambda: _text("qat"),
    "result-file": _result_file,
    "statistics": lambda: _text("statistics"),
    "suites": _suites,
    "zoo": lambda: _text("zoo"),
}
