"""Print which TFLite release brought each version of each op, as TensorFlow itself says: the content of
``op_versions.json``.

Runs under the Python of the tensorflow runtime's environment. TensorFlow's converter ends by writing
``min_runtime_version`` into the model's metadata with a function of its C++ library; here that function is called on
models that name one op each. Importing TensorFlow is not needed for that, which keeps this quick.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import flatbuffers

#: ``void tflite::UpdateMinimumRuntimeVersionForModel(uint8_t* model)``
SYMBOL = "_ZN6tflite35UpdateMinimumRuntimeVersionForModelEPh"

#: No op has come near this version.
LAST_VERSION = 32


def _load() -> tuple[Any, Any]:
    """TensorFlow's generated schema and its function."""
    package = importlib.util.find_spec("tensorflow")
    assert package is not None and package.submodule_search_locations is not None
    root = Path(package.submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("schema", root / "lite" / "python" / "schema_py_generated.py")
    assert spec is not None and spec.loader is not None
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    ctypes.CDLL(str(root / "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    function = getattr(ctypes.CDLL(str(root / "libtensorflow_cc.so.2")), SYMBOL)
    function.argtypes, function.restype = [ctypes.c_char_p], None
    return schema, function


def release_of(schema: Any, function: Any, op: int, version: int) -> str | None:
    """The release that brought ``version`` of ``op``; None where TensorFlow knows no such version."""
    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode, code.builtinCode, code.version = min(op, 127), op, version
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [], []
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [], [], [operator]
    room = schema.BufferT()
    room.data = [0] * 16
    entry = schema.MetadataT()
    entry.name, entry.buffer = "min_runtime_version", 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers, model.metadata = [schema.BufferT(), room], [entry]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    content = ctypes.create_string_buffer(bytes(builder.Output()))
    function(content)
    written = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content.raw, 0))
    return bytes(written.buffers[1].data).rstrip(b"\0").decode() or None


def main() -> None:
    schema, function = _load()
    table = {}
    for name, op in sorted(vars(schema.BuiltinOperator).items()):
        if isinstance(op, int):
            releases = [release_of(schema, function, op, version) for version in range(1, LAST_VERSION)]
            while releases and releases[-1] is None:
                releases.pop()
            if releases:
                table[name] = releases
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(releases)}" for name, releases in table.items())
    sys.stdout.write("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
