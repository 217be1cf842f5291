"""Error against dose and against overlap: how many photons and positions the unrolled solver needs, relative to LSQ-ML.

Dense texture and structured objects. Ours is the result of the solver; for LSQ-ML it is the lowest error at any
iteration, which cannot be selected without the truth. Reports, per scan, the dose at which ours reaches LSQ-ML's
error at 1e5 photons, and the overlap at which it reaches LSQ-ML's at 70 %, by interpolation, and their medians; beside
them the shot-noise limit, below which only a solver with a prior gets. Prints the medians, and writes JSON and a
figure; runs are stored in the files of `time_to_quality.py`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from curves import STYLES, style_panel
from ptypinn.report.figures.style import MUTED, new_figure, png_bytes
from scenes import Scene
from solvers import METHODS, PEERS, weights_digest
from store import RESULTS
from table import Claim, stored_run
from time_to_quality import Runner
from truth_comparison import TruthComparison, best_point, describe_machine, median

KINDS = {"lines": "dense texture", "structured": "structured objects"}
DOSES = (1e3, 1e4, 3e4, 5e4, 1e5, 1e6, 1e7)
OVERLAPS = (0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.85)
PHOTONS = {"overlap": 1e6, "overlap_low_dose": 1e4, "overlap_same_dose": 1e6}
"""Photons per pattern of the sweeps over overlaps: the same in every pattern, so that fewer patterns mean a lower dose,
or at the anchor, with the same dose on the sample at every overlap."""
SWEEPS = {"dose": DOSES, **dict.fromkeys(PHOTONS, OVERLAPS)}
ANCHORS = {"dose": 1e5, **dict.fromkeys(PHOTONS, 0.7)}
"""Where the error of LSQ-ML is taken."""
AXES = {
    "dose": "photons per pattern",
    "overlap": "overlap, 1e6 photons per pattern",
    "overlap_low_dose": "overlap, 1e4 photons per pattern",
    "overlap_same_dose": "overlap, same dose on the sample",
}
LIMITS = {("dose", "lines"): 7e4, ("dose", "structured"): 4e4} | {
    (sweep, kind): 0.55 for sweep in PHOTONS for kind in KINDS
}
OURS = ("zero-shot", "polished")
SEEDS = (0, 1, 2, 3, 4)
IMAGE = Path(__file__).parents[1] / "docs" / "images" / "frontier.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=SWEEPS, default=list(SWEEPS), help="sweeps to run; none to report")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*OURS, "refine", "lsqml"])
    parser.add_argument("--weights", type=Path, help="weights of the unrolled solver; default: those of the package")
    parser.add_argument("--again", action="store_true", help="repeat runs that are stored, those of peers excepted")
    parser.add_argument("--any-code", action="store_true", help="accept runs of other versions of the solvers' code")
    parser.add_argument("--cached-peers", action="store_true", help="never run a peer that has no stored trace")
    parser.add_argument("--output", type=Path, default=RESULTS / "frontier.json")
    parser.set_defaults(rounds=None, paired=False)
    arguments = parser.parse_args()
    with Runner(arguments) as runner:
        for sweep in arguments.only:
            for kind in arguments.kinds:
                for scene in scenes_of(sweep, kind, arguments.seeds):
                    for method in arguments.methods:
                        runner.ensure(method, scene)
    Report(weights_digest(arguments.weights)).write(arguments.output)


def scene_at(sweep: str, value: float, kind: str, seed: int) -> Scene:
    if sweep == "dose":
        return Scene(kind, value, seed)
    factor = ((1 - value) / (1 - ANCHORS[sweep])) ** 2 if sweep == "overlap_same_dose" else 1.0
    return Scene(kind, PHOTONS[sweep] * factor, seed, overlap=value)


def scenes_of(sweep: str, kind: str, seeds: list[int]) -> Iterator[Scene]:
    """Yield all scans of a sweep, the anchor first."""
    for value in sorted(SWEEPS[sweep], key=lambda value: value != ANCHORS[sweep]):
        yield from (scene_at(sweep, value, kind, seed) for seed in seeds)


@cache
def shot_noise(sweep: str, kind: str) -> dict[str, float]:
    """Return the shot-noise limit at every value, of the first scan."""
    return {
        f"{at:g}": TruthComparison.of_scene(scene_at(sweep, at, kind, SEEDS[0])).shot_noise() for at in SWEEPS[sweep]
    }


class Report:
    """Claims, errors and figure from the stored runs; of the unrolled solver those with the weights of one digest."""

    def __init__(self, weights: str) -> None:
        self.weights = weights

    def write(self, output: Path) -> None:
        """Print the claims, and write them with all errors and the figure."""
        claims = [self.claim(sweep, kind, method) for sweep, kind in LIMITS for method in OURS]
        for claim in claims:
            print(claim.line())
        report: dict[str, object] = {"machine": describe_machine(), "weights": self.weights}
        report["claims"] = [asdict(claim) | {"met": claim.met} for claim in claims]
        report["errors"] = {f"{sweep}, {kind}": self.errors(sweep, kind) for sweep in SWEEPS for kind in KINDS}
        report["shot_noise"] = {f"{sweep}, {kind}": shot_noise(sweep, kind) for sweep in SWEEPS for kind in KINDS}
        output.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        self.draw(IMAGE)

    def error(self, method: str, scene: Scene) -> float | None:
        """Return the final error of ours, the lowest error of peers."""
        run = stored_run(method, scene, self.weights)
        if run is None:
            return None
        return best_point(run.trace).error if method in PEERS else run.trace[-1].error

    def errors(self, sweep: str, kind: str) -> dict[str, dict[str, list[float | None]]]:
        """Return the errors of every method at every value, one per seed."""
        return {
            method: {
                f"{value:g}": [self.error(method, scene_at(sweep, value, kind, seed)) for seed in SEEDS]
                for value in SWEEPS[sweep]
            }
            for method in (*OURS, "refine", "lsqml")
        }

    def claim(self, sweep: str, kind: str, method: str) -> Claim:
        """Return the dose or overlap at which a method of ours reaches LSQ-ML's error at the anchor."""
        values = []
        for seed in SEEDS:
            goal = self.error("lsqml", scene_at(sweep, ANCHORS[sweep], kind, seed))
            errors = [(value, self.error(method, scene_at(sweep, value, kind, seed))) for value in SWEEPS[sweep]]
            curve = [(value, error) for value, error in errors if error is not None]
            if goal is not None and curve:
                values.append(interpolate_crossing(curve, goal, logarithmic=sweep == "dose"))
        what = f"{method}: {sweep.replace('_', ' ')} that reaches LSQ-ML's error at {ANCHORS[sweep]:g}"
        return Claim(f"{kind} {sweep}", what, median(values), LIMITS[sweep, kind], tuple(values))

    def draw(self, path: Path) -> None:
        """Draw the median error over dose and over overlap, for both kinds of objects."""
        figure = new_figure(15.5, 6.6)
        grid, lines = figure.subplots(2, len(SWEEPS)), {}
        for row, kind in zip(grid, KINDS, strict=True):
            for axes, sweep in zip(row, SWEEPS, strict=True):
                places = self.draw_panel(axes, sweep, kind, lines)
                limit = shot_noise(sweep, kind).values()
                lines["shot-noise limit"] = axes.plot(SWEEPS[sweep], list(limit), ":", color=MUTED, lw=1.4)[0]
                style_panel(axes, f"{KINDS[kind]} ({len(places)} scans)", AXES[sweep])
                if sweep == "dose":
                    axes.set_xscale("log")
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_bytes(figure))

    def draw_panel(self, axes: Axes, sweep: str, kind: str, lines: dict[str, Line2D]) -> list[int]:
        """Draw one sweep, on the scans where LSQ-ML has run at most values; return the places of these scans."""
        errors_of = self.errors(sweep, kind)
        lsqml = errors_of["lsqml"].values()
        numbers = [sum(errors[place] is not None for errors in lsqml) for place in range(len(SEEDS))]
        places = [place for place, number in enumerate(numbers) if number == max(numbers)]
        for method, errors in errors_of.items():
            chosen = {float(value): [of[place] for place in places] for value, of in errors.items()}
            points = [(value, median(of)) for value, of in chosen.items() if None not in of]
            if points:
                label, colour, dashes, width = STYLES[method]
                style = {"color": colour, "lw": width, "marker": "o", "ms": 3}
                lines[label] = axes.plot(*zip(*points, strict=True), dashes, **style)[0]
        return places


def interpolate_crossing(curve: list[tuple[float, float]], goal: float, logarithmic: bool) -> float | None:
    """Return the value at which the error falls to `goal`, interpolating its logarithm; at least the first value."""
    before: tuple[float, float] | None = None
    for value, error in curve:
        place = float(np.log(value)) if logarithmic else value
        if error <= goal:
            if before:
                place = before[0] + (place - before[0]) * np.log(before[1] / goal) / np.log(before[1] / error)
            return float(np.exp(place) if logarithmic else place)
        before = place, error
    return None


if __name__ == "__main__":
    main()
