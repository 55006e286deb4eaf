#!/usr/bin/env python3
"""Latency of one inference on this machine, one thread, int8: edgeprune beside LiteRT, ONNX Runtime and OpenVINO.

    python3 tests/peers/compare.py ZOO [--edgeprune target/release/edgeprune]

ZOO is a folder of networks as `EDGEPRUNE_ZOO` names it. The others are installed from PyPI into a virtual
environment in `target/peers` on first use. Every engine runs the same network on noise: LiteRT the published int8
TFLite files, ONNX Runtime and OpenVINO the ONNX files after ONNX Runtime's static quantization (QDQ, per channel).
Each figure is the median of the single inferences of one run, in microseconds; engines take turns, so that a
slow minute of the machine hits all of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PACKAGES = ["ai-edge-litert==2.3.0", "onnxruntime==1.32.0", "onnx", "openvino", "numpy"]
ENVIRONMENT = Path(__file__).resolve().parents[2] / "target" / "peers"
TURNS = 3
SECONDS = 1.0

# name, edgeprune's model, LiteRT's
NETWORKS = [
    ("ResNet-8", "mlperf-tiny/pretrainedResnet.tflite", "mlperf-tiny/pretrainedResnet_quant.tflite"),
    ("VWW", "mlperf-tiny/vww_96_float.tflite", "mlperf-tiny/vww_96_int8.tflite"),
    ("KWS", "mlperf-tiny/kws_ref_model_float32.tflite", "mlperf-tiny/kws_ref_model.tflite"),
    ("AD", "mlperf-tiny/ad01_fp32.tflite", "mlperf-tiny/ad01_int8.tflite"),
    ("MobileNetV2", "imagenet/mobilenet_v2.onnx", None),
    ("EfficientNet-Lite0", "imagenet/efficientnet_lite0.onnx", None),
    ("ResNet-50", "imagenet/resnet50.onnx", None),
]


def enter_environment():
    """Runs this script again by the environment's Python, which it makes first."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "packages.txt"
    wanted = "\n".join(PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {', '.join(PACKAGES)} into {ENVIRONMENT}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        stamp.write_text(wanted)
    os.execv(python, [str(python), *sys.argv])


def median_us(run):
    """Median time of `run`, after a warm-up."""
    until = time.perf_counter() + SECONDS / 5
    while time.perf_counter() < until:
        run()
    times = []
    until = time.perf_counter() + SECONDS
    while len(times) < 5 or time.perf_counter() < until:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def litert(model):
    from ai_edge_litert.interpreter import Interpreter

    import numpy as np

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    port = interpreter.get_input_details()[0]
    noise = np.random.default_rng(1).integers(-128, 128, port["shape"]).astype(port["dtype"])
    interpreter.set_tensor(port["index"], noise)
    return interpreter.invoke


def quantized(model, folder):
    """The model after ONNX Runtime's static quantization, calibrated on noise: only speed matters here."""
    import numpy as np
    from onnxruntime import InferenceSession
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, result = folder / "prepared.onnx", folder / f"{model.stem}.int8.onnx"
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    port = InferenceSession(str(prepared), providers=["CPUExecutionProvider"]).get_inputs()[0]
    shape = [dim if isinstance(dim, int) else 1 for dim in port.shape]

    class Noise(CalibrationDataReader):
        def __init__(self):
            generator = np.random.default_rng(1)
            self.left = [generator.normal(size=shape).astype(np.float32) for _ in range(4)]

        def get_next(self):
            return {port.name: self.left.pop()} if self.left else None

    quantize_static(
        str(prepared), str(result), Noise(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )
    return result, shape


def onnx_runtime(model, shape):
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    return lambda: session.run(None, feed)


def openvino(model, shape):
    import numpy as np
    import openvino as ov

    compiled = ov.Core().compile_model(str(model), "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(np.random.default_rng(1).normal(size=shape).astype(np.float32)))
    return request.infer


def edgeprune(program, package):
    """Median latency by the tool's own benchmark."""
    def measure():
        command = [program, "bench", package, "--json", "--runs"]
        once = json.loads(subprocess.run([*command, "10"], check=True, capture_output=True).stdout)
        runs = max(10, int(SECONDS * 1e6 / once["latency_us"]["p50"]))
        record = subprocess.run([*command, str(runs)], check=True, capture_output=True).stdout
        return json.loads(record)["latency_us"]["p50"]

    return measure


def engines(name, ours, theirs, zoo, program, folder):
    """The engines that have this network, each with a function that measures it."""
    package = folder / f"{name}.epk"
    command = [program, "pack", zoo / ours, "--no-cache", "-o", package]
    subprocess.run(command, check=True, capture_output=True)
    found = {"edgeprune": edgeprune(program, package)}
    if theirs:
        run = litert(zoo / theirs)
        found["LiteRT"] = lambda: median_us(run)
    if ours.endswith(".onnx"):
        model, shape = quantized(zoo / ours, folder)
        ort_run, ov_run = onnx_runtime(model, shape), openvino(model, shape)
        found["ONNX Runtime"] = lambda: median_us(ort_run)
        found["OpenVINO"] = lambda: median_us(ov_run)
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("zoo", type=Path)
    arguments.add_argument("--edgeprune", default="target/release/edgeprune", help="the tool, built with --release")
    options = arguments.parse_args()
    columns = ["edgeprune", "LiteRT", "ONNX Runtime", "OpenVINO"]
    print("| network | " + " | ".join(columns) + " | edgeprune / fastest |")
    print("|---|" + "---|" * (len(columns) + 1))
    with tempfile.TemporaryDirectory() as folder:
        for name, ours, theirs in NETWORKS:
            found = engines(name, ours, theirs, options.zoo, options.edgeprune, Path(folder))
            turns = [{engine: measure() for engine, measure in found.items()} for _ in range(TURNS)]
            best = {engine: min(turn[engine] for turn in turns) for engine in found}
            fastest = min(value for engine, value in best.items() if engine != "edgeprune")
            cells = [f"{best[c]:.1f}" if c in best else "" for c in columns]
            print(f"| {name} | " + " | ".join(cells) + f" | {best['edgeprune'] / fastest:.2f} |", flush=True)


if __name__ == "__main__":
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        enter_environment()
    main()
