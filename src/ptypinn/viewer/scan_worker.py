"""Process that looks at a scan for its page: `python -m ptypinn.viewer.scan_worker SCAN FOLDER`, options on stdin.

It writes `places.json` with the files that it depends on to the folder, then `facts.json` and pictures, or `error.json`
with one line. The server itself reads no counts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.utils.atomic_files import write_json
from ptypinn.utils.plain_values import to_plain
from ptypinn.viewer.folders import stamp_places

if TYPE_CHECKING:
    from ptypinn.stages.info import ScanInfo

FACTS, ERROR, PLACES = "facts.json", "error.json", "places.json"
PICTURES = ("mean_pattern", "probe")
MAX_POSITIONS = 5000
"""Maximum number of positions that a page draws; of more, evenly spaced ones."""
HEADLINE_DIGITS = 4


def write_facts(path: Path, folder: Path, options: dict[str, Any]) -> None:
    """Look at a scan as `ptypinn info` does, and write what a page shows of it.

    Args:
        path: The scan file.
        folder: Folder for the result.
        options: Options of reading that differ from their defaults.

    Raises:
        InputError: Where the file or an option is at fault.
    """
    from ptypinn.io.load_save import load
    from ptypinn.report.text.scan import info_table
    from ptypinn.stages.info import info

    scan = load(path, LoadConfig(**options))
    summary = info(scan)
    _draw_mean_pattern(summary, folder)
    _draw_probe(summary, folder)
    facts = {
        "headline": _headline(summary),
        "table": info_table(summary),
        "warnings": summary.warnings,
        "missing": summary.missing,
        "positions": _positions(summary),
        "pictures": [name for name in PICTURES if (folder / f"{name}.png").exists()],
    }
    write_json(folder / FACTS, to_plain(facts))


def write_places(path: Path, folder: Path, options: dict[str, Any]) -> None:
    """Write which files a look depends on, and a stamp of them as they are before they are read.

    Args:
        path: The scan file.
        folder: Folder for the result.
        options: Options of reading that differ from their defaults.
    """
    from ptypinn.io.load_save import list_scan_places

    places = list_scan_places(path, LoadConfig(**options))
    write_json(folder / PLACES, {"places": list(map(str, places)), "stamp": stamp_places(places)})


def _headline(summary: ScanInfo) -> list[tuple[str, str]]:
    """Return the few numbers that decide whether a scan is any good, with their labels."""
    from ptypinn.report.text.scan import QUANTA
    from ptypinn.utils.number_format import format_length, format_number

    scan, overlap = summary.scan, summary.overlap
    pixel = "unknown" if scan.pixel_size_m is None else format_length(scan.pixel_size_m)
    return [
        ("Patterns", f"{scan.n_patterns} of {scan.size} x {scan.size}"),
        (f"{QUANTA[scan.particle].capitalize()} per pattern", format_number(float(summary.patterns.sums.mean()), 3)),
        ("Overlap", "needs a probe" if overlap is None else f"{overlap:.0%}"),
        ("Object pixel", pixel),
        ("Object", f"{summary.canvas_shape[0]} x {summary.canvas_shape[1]} pixels"),
    ]


def _positions(summary: ScanInfo) -> dict[str, Any]:
    """Return the centres (y, x) of the probe, object pixels, with the photons of every pattern."""
    centres = summary.scan.positions_px + summary.scan.size / 2
    shown = np.unique(np.linspace(0, len(centres) - 1, min(len(centres), MAX_POSITIONS)).astype(int))
    return {
        "centres_px": np.round(centres[shown], 2).tolist(),
        "photons": [float(f"{value:.{HEADLINE_DIGITS}g}") for value in summary.patterns.sums[shown]],
        "count": len(centres),
        "probe_diameter_px": summary.probe_diameter_px,
        "pixel_size_m": summary.scan.pixel_size_m,
    }


def _draw_mean_pattern(summary: ScanInfo, folder: Path) -> None:
    """Draw the mean pattern on a logarithmic scale, masked pixels left out."""
    from ptypinn.report.figures.colours import COUNTS_MAP
    from ptypinn.viewer.tiles import encode_scalar_png

    good = summary.scan.good
    logarithm = np.log10(np.maximum(summary.patterns.mean_pattern, 1.0 / summary.scan.n_patterns))
    low, high = (float(logarithm[good].min()), float(logarithm[good].max())) if good.any() else (0.0, 1.0)
    png = encode_scalar_png(logarithm, good, (low, max(high, low + 1e-6)), COUNTS_MAP)
    (folder / f"{PICTURES[0]}.png").write_bytes(png)


def _draw_probe(summary: ScanInfo, folder: Path) -> None:
    """Draw the strongest mode of the probe, phase as hue; nothing without a probe."""
    from ptypinn.physics.optics import mode_photons
    from ptypinn.viewer.tiles import encode_complex_png

    if summary.scan.probe is None:
        return
    modes = summary.scan.require_probe()
    strongest = modes[int(np.argmax(mode_photons(modes)))]
    phase = np.angle(strongest * np.conj(strongest.sum()))
    modulus = np.abs(strongest)
    png = encode_complex_png(phase, modulus, None, float(modulus.max()) or 1.0)
    (folder / f"{PICTURES[1]}.png").write_bytes(png)


def main() -> int:
    """Run the process; bad input ends in `error.json`."""
    path, folder = (Path(word) for word in sys.argv[1:])
    try:
        options = {name: tuple(v) if isinstance(v, list) else v for name, v in json.load(sys.stdin).items()}
        write_places(path, folder, options)
        write_facts(path, folder, options)
    except InputError as error:
        write_json(folder / ERROR, {"error": str(error)})
        return 1
    except (OSError, MemoryError) as error:
        write_json(folder / ERROR, {"error": f"{path}: {error or 'out of memory'}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
