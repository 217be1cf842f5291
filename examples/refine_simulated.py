"""Simulate a scan with a known truth, solve it, and compare the amplitude with the truth without any fit."""

import argparse

import ptypinn as pp


def main(iterations: int, photons: float) -> float:
    scan = pp.simulate(pp.SimulateConfig(object="dead_leaves", object_size=(128, 128), photons=photons))
    recon = pp.refine(scan, pp.RefineConfig(iterations=iterations, refine_probe=False))
    result = pp.evaluate(recon, scan)
    for name in ("output_vs_truth_ratio", "complex_error", "flux_closure"):
        print(f"{name:22} {result.metrics[name]:.4f}")
    return result.metrics["output_vs_truth_ratio"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--photons", type=float, default=1e6)
    options = parser.parse_args()
    main(options.iterations, options.photons)
