"""The part of a report that shows the probe: its modes and the power in each."""

from __future__ import annotations

import torch

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.physics.probes import equivalent_diameter, power_at_edge
from ptypinn.report.blocks import Block, Cell, Facts, Figures, Section, Table, cell_of
from ptypinn.report.digits import metres
from ptypinn.report.images import MOST_MODES, mode_photons, mode_shares, probe_images
from ptypinn.report.told import panels_of


def probe_section(recon: Reconstruction) -> Section:
    """Amplitude and phase of the strongest modes, and the power of all."""
    powers, shares = mode_photons(recon.probe), mode_shares(recon.probe)
    rows = [
        [Cell(f"Mode {k}"), cell_of(float(power), "photons"), cell_of(100 * float(share), "%")]
        for k, (power, share) in enumerate(zip(powers, shares, strict=True), start=1)
    ]
    blocks: list[Block] = [Facts(_facts(recon)), _panels(recon)]
    if len(powers) > 1:
        blocks.append(Table("Power of the modes", ("Mode", "Photons per pattern", "Share"), rows))
    return Section("probe", "Probe", blocks)


def _panels(recon: Reconstruction) -> Figures:
    panels = []
    for number, pair in enumerate(probe_images(recon.probe), start=1):
        panels += panels_of(pair, recon.pixel_size_m, where=f"of probe mode {number}", most_px=256)
    caption = (
        "The phase is drawn where there is light. Modes are incoherent: their intensities add, never their fields."
    )
    if len(recon.probe) > MOST_MODES:
        caption += f" The {MOST_MODES} strongest of {len(recon.probe)} are drawn."
    return Figures(panels, caption, min(6, max(4, len(panels))))


def _facts(recon: Reconstruction) -> list[tuple[str, Cell]]:
    probe = torch.from_numpy(recon.probe)
    if not float(probe.abs().sum()) > 0:
        return [("Probe", Cell("dark"))]
    diameter = equivalent_diameter(probe)
    length = "" if recon.pixel_size_m is None else f" = {metres(diameter * recon.pixel_size_m)}"
    return [
        ("Modes", cell_of(len(recon.probe))),
        ("Photons per pattern, through vacuum", cell_of(float(mode_photons(recon.probe).sum()))),
        ("Diameter of the disk of equal area", Cell(f"{diameter:.3g}", value=diameter, unit=f"px{length}")),
        ("Power at the edge of the array", cell_of(100 * power_at_edge(probe), "%", digits=2)),
    ]
