"""The parts of a report that are curves: convergence, and the Fourier ring correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ptypinn.metrics import RingCorrelation
from ptypinn.report.figures.curves import POLISH, PROBE, frc_figure, history_figure, history_panels, resolution_text
from ptypinn.report.html.drawing import drawing_of
from ptypinn.report.html.page_elements import Figures, Section
from ptypinn.stages.evaluate import Evaluation

NO_HISTORY = "Not shown: no figures of single iterations are on record, as with a network that sweeps once."
STAGES = ("", POLISH)
NO_FRC = (
    "Not shown: it takes the truth, a reference, or two halves of the scan. `ptypinn refine SCAN --split-half` solves "
    "the halves too."
)


def resolution_section(result: Evaluation, pixel_size_m: float | None) -> Section:
    """The Fourier ring correlation with its thresholds, and the resolution in words."""
    if result.frc is None:
        return Section("resolution", "Resolution", absent=NO_FRC)
    caption = (
        f"{resolution_text(result.frc, pixel_size_m)}. Two images agree up to the frequency where the curve first "
        f"falls below the threshold; here {_compared(result)}."
    )
    drawing = drawing_of(frc_figure(result.frc, pixel_size_m, title=False), "frc", _alt(result.frc))
    return Section("resolution", "Resolution", [Figures([drawing], caption, 2)])


def convergence_section(history: Mapping[str, Sequence[float]], step: str = "iteration") -> Section:
    """Every recorded figure over the steps."""
    panels = history_panels({name: values for name, values in history.items() if len(values) > 1})
    if not panels:
        return Section("convergence", "Convergence", absent=NO_HISTORY)
    drawings = [
        drawing_of(history_figure(curves, step), f"history{number}", _course(curves, step))
        for number, curves in enumerate(panels.values())
    ]
    return Section("convergence", "Convergence", [Figures(drawings, _caption(history), 2)])


def _caption(history: Mapping[str, Sequence[float]]) -> str:
    told = []
    if any(name.startswith(PROBE) for name in history):
        told.append("The probe loss is of the rounds that find the probe; with it the object is solved for anew.")
    if any(name.startswith(("held_out", "val")) for name in history):
        told.append("A held-out loss that rises while the loss falls means that noise is being fitted.")
    lengths = [[len(history.get(f"{stage}{name}", [])) for name in ("held_out_loss", "loss")] for stage in STAGES]
    if any(0 < held_out < all_steps for held_out, all_steps in lengths):
        told.append("Where the held-out loss ends, its pixels are fitted too, and the loss counts them from there on.")
    if any(name.startswith(POLISH) for name in history):
        told.append("Polishing goes on from where the rounds end, and counts its own iterations.")
    return " ".join(told)


def _compared(result: Evaluation) -> str:
    if result.comparison is None:
        return "two halves of the scan, each solved alone"
    return f"the object and the {result.comparison.kind}"


def _alt(frc: RingCorrelation) -> str:
    return (
        f"Fourier ring correlation from {frc.correlation[0]:.2f} at the lowest to {frc.correlation[-1]:.2f} at the "
        f"highest frequency; {resolution_text(frc, None).lower()}."
    )


def _course(curves: Mapping[str, Sequence[float]], step: str) -> str:
    told = []
    for name, values in curves.items():
        finite = np.asarray(values, float)[np.isfinite(np.asarray(values, float))]
        told.append(f"{name.replace('_', ' ')} from {finite[0]:.4g} to {finite[-1]:.4g}")
    return f"{'; '.join(told)}, over {max(map(len, curves.values()))} {step}s."
