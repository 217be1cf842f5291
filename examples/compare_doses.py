"""Tabulate the error against a known truth over dose and overlap.

Every row is the same sample, measured with other photons per pattern and another distance of the positions.
"""

import argparse
import itertools
from collections.abc import Sequence

import ptypinn as pp

COLUMNS = ("output_vs_truth_ratio", "complex_error", "residual_over_noise")


def main(
    doses: Sequence[float], overlaps: Sequence[float], size: int, rounds: int | None = None
) -> list[dict[str, float]]:
    rows = []
    print(f"{'photons':>9} {'overlap':>8} {'patterns':>9} " + " ".join(f"{name:>22}" for name in COLUMNS))
    for photons, overlap in itertools.product(doses, overlaps):
        config = pp.SimulateConfig(
            object="dead_leaves", object_size=(size, size), size=32, photons=photons, overlap=overlap, object_seed=1
        )
        scan = pp.simulate(config)
        recon = pp.reconstruct(scan, config=pp.ReconstructConfig(rounds=rounds, refine_probe=False))
        metrics = pp.evaluate(recon, scan).metrics
        rows.append({"photons": photons, "overlap": overlap, **{name: metrics[name] for name in COLUMNS}})
        values = " ".join(f"{metrics[name]:22.4f}" for name in COLUMNS)
        print(f"{photons:9.0e} {overlap:8.2f} {scan.n_patterns:9d} {values}")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doses", type=float, nargs="+", default=[1e3, 1e4, 1e5, 1e6], help="photons per pattern")
    parser.add_argument(
        "--overlaps", type=float, nargs="+", default=[0.5, 0.7], help="linear, of neighbouring positions"
    )
    parser.add_argument("--size", type=int, default=160, help="edge of the sample, pixels")
    parser.add_argument("--rounds", type=int, help="of the solver; default: by dose")
    options = parser.parse_args()
    main(options.doses, options.overlaps, options.size, options.rounds)
