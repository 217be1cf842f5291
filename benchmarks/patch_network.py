"""The patch network on simulated scans at 1e4 photons per pattern, and its throughput beside ONNX, on one thread.

Every case trains on one half of a scan and is judged on the other half: mean structural similarity of the amplitude
(Gaussian window of 1.5 px, range of the true amplitude), mean absolute error of the phase, mean amplitude over the true
one. The unrolled solver of the package on the same patterns shows what they allow. Prints JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ptypinn as pp
from ptypinn.models.model_file import load_patch_model
from ptypinn.physics.propagation import to_centred, to_fft_order

CPU: dict[str, Any] = {"device": "cpu", "threads": 1}
METRICS = ("ssim_amplitude", "pearson_r_amplitude", "phase_mae", "output_vs_truth_ratio", "complex_error")
CASES: dict[str, dict[str, Any]] = {
    "overlap, gridsize 1": {"gridsize": 1},
    "overlap, gridsize 2": {"gridsize": 2},
    "no overlap": {"gridsize": 1, "overlap": 0.0},
}
GROUPS, REPEATS = 16, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--sizes", nargs="+", type=int, default=[64])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [run_case(name, size, arguments.epochs) for size in arguments.sizes for name in arguments.cases]
    text = json.dumps({"version": pp.__version__, "epochs": arguments.epochs, "rows": rows}, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def run_case(name: str, size: int, epochs: int) -> dict[str, Any]:
    """Return the quality of a case on the half that was held out, and the throughput of its network."""
    options = dict(CASES[name])
    edge, gridsize = 4 * size, options.pop("gridsize")
    scan = pp.simulate(
        pp.SimulateConfig(object="natural", object_size=(edge, edge), size=size, photons=1e4, seed=3, **options)
    )
    train = pp.TrainConfig(split_axis="y", split_gap_px=10.0, epochs=epochs, gridsize=gridsize, **CPU)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        model = pp.train(scan, train, output_dir=folder)
        cpu_s = time.process_time() - started
        recon = pp.reconstruct(scan, model, pp.PatchNetworkConfig(subset="held_out", **CPU))
        speed = time_network(scan, model, gridsize, Path(folder))
    metrics = pp.evaluate(recon, scan).metrics
    row = {"case": name, "size": size, "patterns": scan.n_patterns, "train_cpu_s": round(cpu_s, 1)}
    row |= {metric: metrics.get(metric) for metric in METRICS} | speed | {"unrolled": solve_unrolled(scan, recon)}
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def solve_unrolled(scan: pp.ScanData, recon: pp.Reconstruction) -> dict[str, Any]:
    """Return the metrics of the solver that needs no training, on the patterns that were held out."""
    solved = pp.reconstruct(scan.subset(recon.patterns), None, pp.ReconstructConfig(refine_probe=False, **CPU))
    metrics = pp.evaluate(solved, scan).metrics
    return {metric: metrics.get(metric) for metric in METRICS}


def time_network(scan: pp.ScanData, model: Path, gridsize: int, folder: Path) -> dict[str, Any]:
    """Return the CPU milliseconds per pattern of the network in PyTorch, and in ONNX where that is installed."""
    bundle = load_patch_model(model)
    predictor = bundle.predictor(bundle.probe, to_fft_order(torch.from_numpy(scan.good)))
    counts = torch.from_numpy(np.asarray(scan.counts[: GROUPS * gridsize**2], np.float32))
    counts = to_fft_order(counts).view(-1, gridsize**2, scan.size, scan.size)
    places = torch.from_numpy(scan.positions_px[: counts[:, :, 0, 0].numel()]).view(len(counts), -1, 2)
    offsets = (places - places[:, :1]).clamp(-scan.size / 4, scan.size / 4).float()
    with torch.inference_mode():
        patches = predictor.patches(counts, offsets)
        speed = {"torch_ms": measure(lambda: predictor.patches(counts, offsets), counts)}
    if importlib.util.find_spec("onnxruntime") is None:
        return speed
    import onnxruntime

    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = session_options.inter_op_num_threads = 1
    path = pp.export(model, folder / "network.onnx").path
    session = onnxruntime.InferenceSession(path, session_options, providers=["CPUExecutionProvider"])
    feed = {"counts": to_centred(counts).numpy(), "mask": scan.good.astype(np.float32)}
    feed |= {"offsets": offsets.numpy()} if gridsize > 1 else {}
    (exported,) = session.run(["object"], feed)
    difference = np.abs(exported[..., 0] + 1j * exported[..., 1] - patches.numpy()).max()
    onnx_ms = measure(lambda: session.run(["object"], feed), counts)
    return speed | {"onnx_ms": onnx_ms, "onnx_difference": float(difference), "onnx_bytes": path.stat().st_size}


def measure(call: Callable[[], Any], counts: torch.Tensor) -> float:
    """Return the CPU milliseconds of a call per pattern, after one that is not counted."""
    call()
    started = time.process_time()
    for _ in range(REPEATS):
        call()
    return 1e3 * (time.process_time() - started) / REPEATS / counts[:, :, 0, 0].numel()


if __name__ == "__main__":
    main()
