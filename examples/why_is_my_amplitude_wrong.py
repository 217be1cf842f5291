"""Find the stage that lost amplitude: a scan whose amplitudes are taken for counts, and its diagnosis.

The same calls, `load`, `refine` and `diagnose`, work for files of your own.
"""

import argparse
from pathlib import Path

import numpy as np

import ptypinn as pp


def write_amplitudes(path: Path) -> Path:
    """Write a file like some instruments: square roots of counts, under a name that does not show it."""
    scan = pp.simulate(pp.SimulateConfig(size=32, object_size=(96, 96), photons=1e5))
    amplitudes = np.sqrt(np.asarray(scan.counts, np.float32))
    arrays = {"positions_px": scan.positions_px, "probe": scan.require_probe()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, diffraction=amplitudes, **arrays)
    return path


def main(folder: Path, iterations: int) -> dict[str, pp.Diagnosis]:
    path, diagnoses = write_amplitudes(folder / "scan.npz"), {}
    for domain in ("counts", "amplitude"):
        scan = pp.load(path, pp.LoadConfig(domain=domain, photons=1e5))
        recon = pp.refine(scan, pp.RefineConfig(iterations=iterations, refine_probe=False))
        diagnosis = diagnoses[domain] = pp.diagnose(recon, scan)
        illuminated = recon.well_illuminated()
        print(f"patterns taken for {domain}: mean amplitude {np.abs(recon.object[illuminated]).mean():.4g}")
        print(f"  {diagnosis.verdict}")
        for finding in diagnosis.findings:
            print(f"  {finding.stage}: {finding.advice}")
    return diagnoses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("runs/why_is_my_amplitude_wrong"))
    parser.add_argument("--iterations", type=int, default=30)
    options = parser.parse_args()
    main(options.output_dir, options.iterations)
