"""Run as a program by ``converters.lowering.lower``: ``python -m converters.lowering.worker STARTER IN.onnx OUT_FOLDER
[--simplify] [--no-rewrites]``. It ends with the process STARTER, its starter.

In a process of its own, because onnx2tf prints, writes into the working directory, exits on errors and keeps hundreds
of megabytes. It loads onnx2tf, which takes seconds, and then waits for a line on standard input that says that the ONNX
file is there; so it loads while the model is still being exported. Without that line there is nothing to do.
"""

from __future__ import annotations

import sys

from converters.lowering.refusal import UNSUPPORTED
from evit_mobile.errors import first_line


def main() -> None:
    """Lower the ONNX file by onnx2tf's flatbuffer backend; results land in the folder."""
    from evit_mobile.processes import end_with

    starter, onnx_path, folder, *flags = sys.argv[1:]
    end_with(int(starter))
    from onnx2tf.onnx2tf import convert

    from converters.lowering.op_by_op import without_fusion_of_fake_quantisation, without_rewrites

    without_fusion_of_fake_quantisation()
    if "--no-rewrites" in flags:
        without_rewrites()
    if not sys.stdin.readline():
        return
    try:
        convert(
            input_onnx_file_path=onnx_path,
            output_folder_path=folder,
            tflite_backend="flatbuffer_direct",
            copy_onnx_input_output_names_to_tflite=True,
            not_use_onnxsim="--simplify" not in flags,
            verbosity="error",
            non_verbose=True,
        )
    except NotImplementedError as error:
        print(f"\n{first_line(error)}", flush=True)
        sys.exit(UNSUPPORTED)


if __name__ == "__main__":
    main()
