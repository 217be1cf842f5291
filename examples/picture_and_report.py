"""Turn a scan file into a picture, a report and a file that other programs open.

Without a file, a small scan is simulated first, so that the example runs as it is.
"""

import argparse
from pathlib import Path

import ptypinn as pp
from ptypinn.report.html.report import write_report


def main(scan_file: Path | None, folder: Path, rounds: int | None = None) -> pp.Evaluation:
    folder.mkdir(parents=True, exist_ok=True)
    if scan_file is None:
        sample = pp.SimulateConfig(object="siemens", size=48, object_size=(128, 128), photons=1e5)
        scan_file = pp.save(pp.simulate(sample), folder / "scan.h5")
    scan = pp.load(scan_file)
    print(scan)
    for warning in pp.info(scan).warnings:
        print("note:", warning)

    recon = pp.reconstruct(scan, config=pp.ReconstructConfig(rounds=rounds, probe_rounds=rounds))
    result = pp.evaluate(recon, scan)
    recon.save(folder / "reconstruction.h5")
    recon.plot(title=scan_file.name).savefig(folder / "object.png", dpi=150)
    write_report(recon, folder / "report.html", result, scan)
    print(recon)
    for warning in result.warnings:
        print("note:", warning)
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan_file", type=Path, nargs="?", help="CXI, HDF5, NPZ and others; default: a simulated one")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/picture_and_report"))
    parser.add_argument("--rounds", type=int, help="of the solver, for the probe and for the object; default: by dose")
    options = parser.parse_args()
    main(options.scan_file, options.output_dir, options.rounds)
