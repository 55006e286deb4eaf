#!/usr/bin/env python3
"""What ONNX Runtime computes, for the tests on random graphs.

    python3 tests/peers/judge.py FOLDER

For every NAME.onnx of the folder, NAME.in holds its inputs, one after the other, as little-endian float32. This writes
the outputs to NAME.out in the same way, and their dimensions to NAME.json, or the reason why there are none:
{"outputs": [[1, 3, 8, 8]]} or {"error": "..."}. Graphs run as they are written, without optimizations.
"""

import json
import sys
from pathlib import Path

import numpy
import onnxruntime


def run(path):
    """The outputs of one network."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = numpy.fromfile(path.with_suffix(".in"), "<f4")
    feeds = {}
    for port in session.get_inputs():
        count = int(numpy.prod(port.shape))
        feeds[port.name], values = values[:count].reshape(port.shape), values[count:]
    return session.run(None, feeds)


def main():
    for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
        try:
            outputs = run(path)
        except Exception as error:  # what the runtime refuses is for the test to tell
            answer = {"error": str(error)}
        else:
            numpy.concatenate([output.ravel() for output in outputs]).astype("<f4").tofile(path.with_suffix(".out"))
            answer = {"outputs": [output.shape for output in outputs]}
        path.with_suffix(".json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
