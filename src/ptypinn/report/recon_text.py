"""A look at a reconstruction in words and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptypinn.data.formats.crop import LEFT_OUT
from ptypinn.data.reconstruction import Reconstruction
from ptypinn.report.digits import metres


def recon_dict(recon: Reconstruction) -> dict[str, Any]:
    """Plain numbers and texts for JSON; quantities carry their unit in the name, unknown ones are None."""
    lit = recon.well_lit()
    amplitude = np.abs(recon.object[lit]) if lit.any() else np.abs(recon.object)
    return {
        "kind": "reconstruction",
        "format": recon.provenance.get("format", "native"),
        "object_px": list(recon.object.shape),
        "pixel_size_m": recon.pixel_size_m,
        "probe_modes": len(recon.probe),
        "probe_px": int(recon.probe.shape[-1]),
        "probe_photons": float(np.sum(np.abs(recon.probe.astype(np.complex128)) ** 2)),
        "n_positions": len(recon.positions_px),
        "mean_amplitude": float(amplitude.mean()),
        "well_lit_share": float(lit.mean()),
        "metrics": dict(recon.metrics),
    }


def recon_lines(recon: Reconstruction) -> list[str]:
    """The numbers as plain lines."""
    known = recon_dict(recon)
    height, width = known["object_px"]
    pixel = "not known" if recon.pixel_size_m is None else metres(recon.pixel_size_m, 5)
    rows = [
        ("format", str(known["format"])),
        ("object", f"{height} x {width} pixels"),
        ("object pixel", pixel),
        ("probe", f"{known['probe_modes']} modes of {known['probe_px']} x {known['probe_px']} pixels"),
        ("photons", f"{known['probe_photons']:.5g} per pattern through vacuum"),
        ("positions", str(known["n_positions"])),
        (
            "mean amplitude",
            f"{known['mean_amplitude']:.4g} where well lit ({known['well_lit_share']:.0%} of the object)",
        ),
        *((name, f"{value:.4g}") for name, value in known["metrics"].items() if isinstance(value, int | float)),
    ]
    left_out = (f"! left out: {what}" for what in recon.provenance.get(LEFT_OUT, []))
    return ["Reconstruction", *(f"  {label:<20} {text}" for label, text in rows), *left_out]
