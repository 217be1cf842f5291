"""Reconstruct a raster of electron diffraction patterns (4D-STEM) from an NPY file, with its dose in electrons.

The raster is simulated first: a weak phase object, and a detector with 40 units per electron.
"""

import argparse
from pathlib import Path

import numpy as np

import ptypinn as pp

SIDE, STEP_PX, SIZE = 12, 3, 32
PIXEL_M, GAIN = 0.4e-10, 40.0


def simulate_raster(path: Path) -> Path:
    """Write a raster (y, x, rows, columns) of floats in detector units, and the probe beside it."""
    span = SIZE + STEP_PX * (SIDE - 1)
    sample = {"object": "grf", "object_size": (span, span), "amplitude_range": (1.0, 1.0)}
    probe = {"probe": "disk", "probe_diameter_px": 12.0, "curvature_rad": 3.0, "photons": 2e4}
    scan = pp.simulate(pp.SimulateConfig(size=SIZE, scan="raster", n_patterns=SIDE**2, **sample, **probe))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.float32(GAIN * scan.counts[:]).reshape(SIDE, SIDE, SIZE, SIZE))
    np.save(path.with_name("probe.npy"), scan.require_probe())
    return path


def main(folder: Path, rounds: int | None = None) -> tuple[pp.Reconstruction, float]:
    raster = simulate_raster(folder / "raster.npy")
    config = pp.LoadConfig(
        energy_eV=80e3,  # the accelerating voltage
        detector_gain=GAIN,  # units per electron
        pixel_size_m=PIXEL_M,  # or the camera length and the detector's pixel
        scan_step_m=STEP_PX * PIXEL_M,
        probe=str(folder / "probe.npy"),  # a guess of the defocused probe suffices
    )
    scan = pp.load(raster, config)
    print(scan)
    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(rounds=rounds, probe_rounds=rounds))
    photons_per_pixel = float(np.median(recon.illumination[recon.well_illuminated()]))
    dose = photons_per_pixel / (PIXEL_M * 1e10) ** 2
    phase = np.angle(recon.object[recon.well_illuminated()])
    print(f"dose {dose:.3g} electrons per square ångström; phase varies by {phase.std():.2g} rad")
    recon.plot(title=f"{dose:.3g} e/Å²").savefig(folder / "object.png", dpi=150)
    return recon, dose


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output-dir", type=Path, default=Path("runs/electrons_4dstem"))
    parser.add_argument("--rounds", type=int, help="of the solver, for the probe and for the object; default: by dose")
    options = parser.parse_args()
    main(options.output_dir, options.rounds)
