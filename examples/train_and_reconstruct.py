"""Train the network on one scan, then apply it to another scan of the same kind."""

import argparse
from pathlib import Path

import ptypinn as pp


def main(folder: Path, epochs: int, photons: float) -> dict[str, float]:
    sample = {"object": "lines", "object_size": (128, 128), "photons": photons}
    training_scan = pp.simulate(pp.SimulateConfig(**sample, seed=1))
    new_scan = pp.simulate(pp.SimulateConfig(**sample, seed=2))
    model = pp.train(training_scan, pp.TrainConfig(epochs=epochs), output_dir=folder)
    recon = pp.reconstruct(new_scan, model)
    recon.save(folder / "new_scan.h5")
    metrics = pp.evaluate(recon, new_scan).metrics
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
