"""Facts on a scan or a reconstruction as text: what `info` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ptypinn.data.aberrations import measure_aberrations
from ptypinn.data.detector_mtf import interpolate_mtf
from ptypinn.data.monitor import describe_monitor, monitor_record
from ptypinn.data.near_field import describe_geometry
from ptypinn.data.opr_modes import measure_variation
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.io.crop import LEFT_OUT
from ptypinn.io.padding import PADDED_FROM
from ptypinn.io.provenance import UNREAD, optics_record
from ptypinn.physics.optics import probe_photons
from ptypinn.utils.number_format import format_length, format_number

if TYPE_CHECKING:
    from ptypinn.stages.info import ScanInfo


UNKNOWN = "unknown"
QUANTA: dict[str, str] = {"photon": "photons", "electron": "electrons"}
"""Particles that are counted, in the plural."""


def name_quanta(recon: Reconstruction) -> str:
    """Return what a reconstruction's counts are of: photons or electrons."""
    return QUANTA["electron" if optics_record(recon).get("particle") == "electron" else "photon"]


def info_table(info: ScanInfo) -> dict[str, list[tuple[str, str]]]:
    """Return labels and values with their units, by section."""
    table = {
        "File": _file_rows(info),
        "Geometry": _geometry_rows(info),
        "Dose": _dose_rows(info),
        "Detector": _detector_rows(info),
        "Scan": _scan_rows(info),
        "Probe": _probe_rows(info),
    }
    if info.beam is not None:
        table["Beam"] = info.beam.describe()
    if unread := info.scan.provenance.get(UNREAD):
        table["Not read"] = [("array", str(array)) for array in unread]
    if info.missing:
        table["Missing"] = [(entry["name"], f"{entry['option']}, for {entry['needed_for']}") for entry in info.missing]
    return table


def info_lines(info: ScanInfo) -> list[str]:
    """Return the table and the warnings as plain lines."""
    lines = []
    for section, rows in info_table(info).items():
        lines += [section, *(f"  {label:<20} {text}" for label, text in rows)]
    return lines + [f"! {warning}" for warning in info.warnings]


def _file_rows(info: ScanInfo) -> list[tuple[str, str]]:
    scan = info.scan
    place = "on disk" if info.lazy else "in memory"
    size = f"{scan.n_patterns} patterns of {scan.size} x {scan.size} pixels"
    truth = [] if scan.truth is None else [("truth", f"{scan.truth.shape[0]} x {scan.truth.shape[1]} pixels")]
    return [
        ("name", scan.source),
        ("format", str(scan.provenance.get("format", "in memory"))),
        ("patterns", f"{size}, {scan.counts.dtype}, {place}"),
        *_padding_row(scan),
        *truth,
        *([("simulated faults", _fault_text(faults))] if (faults := scan.provenance.get("faults")) else []),
    ]


def _padding_row(scan: ScanData) -> list[tuple[str, str]]:
    """Return a line for patterns that were padded when they were read."""
    measured = scan.provenance.get(PADDED_FROM)
    if measured is None:
        return []
    share = scan.size / measured[0]
    return [
        ("padding", f"unmeasured around {measured[0]} x {measured[1]} pixels; object pixel {share:.3g} times finer")
    ]


def _fault_text(faults: dict[str, Any]) -> str:
    """Return the sizes of simulated faults in a line."""
    sizes = {name: size if isinstance(size, list | tuple) else [size] for name, size in faults.items()}
    return ", ".join(f"{name.replace('_', ' ')} {' '.join(f'{x:.6g}' for x in size)}" for name, size in sizes.items())


def _geometry_rows(info: ScanInfo) -> list[tuple[str, str]]:
    scan = info.scan
    energy = UNKNOWN if scan.energy_eV is None else f"{scan.energy_eV / 1e3:.6g} keV"
    lengths = {
        "wavelength": scan.wavelength_m,
        "detector distance": scan.detector_distance_m,
        "detector pixel": scan.detector_pixel_m,
        "object pixel": scan.pixel_size_m,
    }
    propagation = "near field (projection)" if info.shadow.is_projection else "no sign of a near field"
    if scan.fresnel_number is not None:
        propagation = describe_geometry(scan.fresnel_number, scan.provenance)
    rows = [(label, UNKNOWN if value is None else format_length(value, 5)) for label, value in lengths.items()]
    return [("energy", energy), *rows, ("propagation", propagation)]


def _dose_rows(info: ScanInfo) -> list[tuple[str, str]]:
    sums, quanta = info.patterns.sums, QUANTA[info.scan.particle]
    spread = f" ({sums.std() / sums.mean():.1%})" if sums.mean() > 0 else ""
    ties = f", reached exactly by {info.saturated_patterns} patterns" if info.saturated_patterns else ""
    return [
        (
            f"{quanta} / pattern" if quanta == "electrons" else "photons per pattern",
            f"{sums.mean():.4g} mean, {sums.min():.4g} to {sums.max():.4g}",
        ),
        *_area_rows(info, float(sums.mean())),
        ("spread", f"{sums.std():.3g} standard deviation{spread}"),
        ("largest count", f"{info.patterns.peaks.max():g}{ties}"),
        ("readings of zero", f"{info.patterns.zero_fraction:.1%}"),
    ]


def _area_rows(info: ScanInfo, mean: float) -> list[tuple[str, str]]:
    """Return the dose of electron scans by the area of the sample that belongs to a position."""
    spacing, pixel_m = info.positions.spacing_px, info.scan.pixel_size_m
    if info.scan.particle != "electron" or not spacing or pixel_m is None:
        return []
    return [("dose", f"{mean / (1e10 * pixel_m * spacing) ** 2:.3g} electrons per square angstrom")]


def _detector_rows(info: ScanInfo) -> list[tuple[str, str]]:
    masked, silent, dead = (int(np.sum(p)) for p in (~info.scan.good, info.patterns.silent, info.patterns.dead))
    return [
        ("masked pixels", f"{masked} of {info.scan.size**2}"),
        ("silent pixels", f"{silent} good ones read zero in every pattern"),
        ("dead pixels", f"{dead} of these amid pixels that count"),
        *_background_row(info.scan),
        *_spread_row(info.scan),
        *_flux_row(info.scan),
    ]


def _spread_row(scan: ScanData) -> list[tuple[str, str]]:
    """Return a line for a known point spread."""
    if scan.mtf is None:
        return []
    half = float(interpolate_mtf(scan.mtf, np.array([0.5]))[0])
    return [("point spread", f"MTF {half:.2f} at half Nyquist, part of every prediction")]


def _flux_row(scan: ScanData) -> list[tuple[str, str]]:
    """Return a line for a known flux of the frames, or a monitor of it that is left aside."""
    sentence = describe_monitor(monitor_record(scan.provenance))
    if scan.flux is None:
        return [("beam monitor", sentence)] if sentence else []
    return [("beam monitor", sentence or f"flux of the frames varies by {scan.flux.std():.2g} (standard deviation)")]


def _background_row(scan: ScanData) -> list[tuple[str, str]]:
    if scan.background is None:
        return []
    counts = format_number(float(scan.background[scan.good].sum(dtype=np.float64)), 3)
    return [("background", f"{counts} {QUANTA[scan.particle]} per frame, part of every prediction")]


def _scan_rows(info: ScanInfo) -> list[tuple[str, str]]:
    positions, pixel = info.positions, info.scan.pixel_size_m
    (height, width), (rows, columns) = positions.extent_px, info.canvas_shape
    overlap = "needs a probe" if info.overlap is None else f"{info.overlap:.0%} linear"
    return [
        ("extent (y, x)", f"{_length(height, pixel)} x {_length(width, pixel)}"),
        ("canvas", f"{rows} x {columns} pixels"),
        ("mean spacing", _length(positions.spacing_px, pixel)),
        ("nearest neighbour", f"{_length(positions.nearest_px, pixel)} (median)"),
        ("overlap", overlap),
    ]


def _probe_rows(info: ScanInfo) -> list[tuple[str, str]]:
    scan = info.scan
    if scan.probe is None or info.probe_diameter_px is None:
        return [("probe", "none: `reconstruct` and `refine` find one")]
    rule = scan.provenance.get("probe_calibration")
    origin = "from the file" if not rule else f"by rule {rule['rule']}, amplitude times {rule['factor']:.4g}"
    total = sum(info.mode_photons)
    fractions = ", ".join(f"{photons / total:.1%}" for photons in info.mode_photons)
    return [
        ("modes", f"{len(scan.probe)} ({fractions})"),
        (QUANTA[scan.particle], f"{total:.5g} per pattern through vacuum, {scan.probe_gauge} ({origin})"),
        ("equivalent diameter", _length(info.probe_diameter_px, scan.pixel_size_m)),
    ]


def _length(pixels: float | None, pixel_size_m: float | None) -> str:
    if pixels is None:
        return "a single position"
    return f"{pixels:.4g} px" + ("" if pixel_size_m is None else f" ({format_length(pixels * pixel_size_m)})")


def recon_dict(recon: Reconstruction) -> dict[str, Any]:
    """Return plain numbers and texts for JSON; quantities carry their unit in the name, unknown ones are None."""
    mask, aberrations = recon.well_illuminated(), measure_aberrations(recon, optics_record(recon))
    amplitude = np.abs(recon.object[mask]) if mask.any() else np.abs(recon.object)
    return {
        "kind": "reconstruction",
        "format": recon.provenance.get("format", "native"),
        "object_px": list(recon.object.shape),
        "pixel_size_m": recon.pixel_size_m,
        "probe_modes": len(recon.probe),
        "probe_px": int(recon.probe.shape[-1]),
        "probe_photons": probe_photons(recon.probe),
        "n_positions": len(recon.positions_px),
        "mean_amplitude": float(amplitude.mean()),
        "well_illuminated_fraction": float(mask.mean()),
        "metrics": dict(recon.metrics),
        "flux_variation": None if recon.flux is None else float(recon.flux.std()),
        "probe_variation": measure_variation(recon) or None,
        "lens": None if aberrations is None else aberrations.to_record(),
    }


def _variation_rows(recon: Reconstruction) -> list[tuple[str, str]]:
    """Return lines on what changes from frame to frame."""
    rows = [] if recon.flux is None else [("flux", f"varies by {recon.flux.std():.2g} (standard deviation)")]
    if recon.probe_variation is not None:
        share = f"{measure_variation(recon):.2g} of the {name_quanta(recon)} beside the mean probe"
        rows.append(("varying probe", f"{len(recon.probe_variation)} images that frames add, {share}"))
    return rows


def recon_lines(recon: Reconstruction) -> list[str]:
    """Return the numbers as plain lines."""
    facts = recon_dict(recon)
    height, width = facts["object_px"]
    pixel = UNKNOWN if recon.pixel_size_m is None else format_length(recon.pixel_size_m, 5)
    illuminated = f"{facts['well_illuminated_fraction']:.0%} of the object"
    rows = [
        ("format", str(facts["format"])),
        ("object", f"{height} x {width} pixels"),
        ("object pixel", pixel),
        ("probe", f"{facts['probe_modes']} modes of {facts['probe_px']} x {facts['probe_px']} pixels"),
        (name_quanta(recon), f"{facts['probe_photons']:.5g} per pattern through vacuum"),
        ("positions", str(facts["n_positions"])),
        *_variation_rows(recon),
        ("mean amplitude", f"{facts['mean_amplitude']:.4g} where well illuminated ({illuminated})"),
        *((name, f"{value:.4g}") for name, value in facts["metrics"].items() if isinstance(value, int | float)),
    ]
    aberrations = measure_aberrations(recon, optics_record(recon))
    lens = [] if aberrations is None else ["Lens", *(f"  {label:<20} {text}" for label, text in aberrations.describe())]
    left_out = (f"! left out: {what}" for what in recon.provenance.get(LEFT_OUT, []))
    return ["Reconstruction", *(f"  {label:<20} {text}" for label, text in rows), *lens, *left_out]
