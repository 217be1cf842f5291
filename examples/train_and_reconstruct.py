"""Train the network on one scan, then reconstruct another scan of the same kind with it in one sweep."""

import argparse
from pathlib import Path

import ptypinn as pp


def main(folder: Path, epochs: int, photons: float) -> dict[str, float]:
    sample = {"object": "lines", "object_size": (128, 128), "photons": photons}
    seen = pp.simulate(pp.SimulateConfig(**sample, seed=1))
    unseen = pp.simulate(pp.SimulateConfig(**sample, seed=2))
    model = pp.train(seen, pp.TrainConfig(epochs=epochs), output_dir=folder)
    recon = pp.reconstruct(unseen, model)
    recon.save(folder / "unseen.h5")
    metrics = pp.evaluate(recon, unseen).metrics
    for name in ("output_vs_truth_ratio", "pearson_r_amplitude", "pearson_r_phase", "flux_closure"):
        print(f"{name:22} {metrics[name]:.3f}")
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("runs/train_and_reconstruct"))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--photons", type=float, default=1e6)
    options = parser.parse_args()
    main(options.output_dir, options.epochs, options.photons)
