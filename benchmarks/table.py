"""The groups of scans that are compared, and the claims of the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scenes import Scene
from solvers import METHODS, WITH_NETWORK, open_store
from store import Run
from truth_comparison import best_point, median, time_to_error

SEEDS = range(5)
LSQML_ERROR = 0.0566
"""Error at which the time of LSQ-ML is taken on dense texture at 1e4 photons."""


FEWER = {"epie": 1, "fine-tuned": 0}


@dataclass(frozen=True)
class Group:
    """Scans whose medians are taken together."""

    title: str
    scenes: tuple[Scene, ...]
    zero_shot: float | None = None
    """Maximum error of the zero-shot result."""
    against_refine: tuple[str, float] | None = None
    """Method, and maximum ratio of its error to the lowest that `refine` passes through."""
    polished: bool = False
    """Compare the polished result against LSQ-ML and `refine`."""
    guess_of: str | None = None
    """Group with the same scans and their true probes."""
    ratio: float = 0.01
    """Maximum distance of `output_vs_truth_ratio` from 1."""
    scans: tuple[tuple[str, int], ...] = ()
    """Methods that run on the first so many scans only, beside those of `FEWER`."""

    def number(self, method: str) -> int:
        """Return the number of scans that a method runs on."""
        return {**FEWER, **dict(self.scans)}.get(method, len(self.scenes))


def _of(name: str, photons: float, guess: bool = False) -> tuple[Scene, ...]:
    return tuple(Scene(name, photons, seed, guess=guess) for seed in SEEDS)


GROUPS = {
    "dense-1e4": Group(
        "dense texture, 1e4 photons", _of("lines", 1e4), against_refine=("zero-shot", 1.03), scans=(("fine-tuned", 1),)
    ),
    "structured-1e4": Group(
        "structured objects, 1e4 photons",
        _of("structured", 1e4),
        against_refine=("zero-shot", 0.9),
        scans=(("fine-tuned", 1),),
    ),
    "dense-1e6": Group("dense texture, 1e6 photons", _of("lines", 1e6), 0.015, polished=True),
    "structured-1e6": Group(
        "structured objects, 1e6 photons", _of("structured", 1e6), 0.015, polished=True, scans=(("lsqml", 3),)
    ),
    "slow-1e6": Group(
        "slowly varying, 512 x 512, 1e6 photons", _of("field512", 1e6), 0.015, polished=True, scans=(("lsqml", 1),)
    ),
    "guess-1e4": Group(
        "poor probe guess, 1e4 photons", _of("lines", 1e4, True), 0.065, guess_of="dense-1e4", ratio=0.02
    ),
    "guess-1e6": Group(
        "poor probe guess, 1e6 photons", _of("lines", 1e6, True), 0.045, guess_of="dense-1e6", ratio=0.02
    ),
}
OWN = ("zero-shot", "polished", "bare", "fine-tuned", "refine")


def stored_runs(group: Group, method: str, weights: str | None) -> list[Run | None]:
    """Return the stored runs of a method, one per scan; None where there is none with these weights (their digest)."""
    return [stored_run(method, scene, weights) for scene in group.scenes]


def stored_run(method: str, scene: Scene, weights: str | None) -> Run | None:
    """Return a stored run; of the unrolled solver only with these weights, if any are given."""
    settings = {"weights": weights} if weights and method in WITH_NETWORK else None
    return open_store(method).find(method, scene, settings)


@dataclass(frozen=True)
class Claim:
    """One value that the comparison is to show."""

    group: str
    text: str
    measured: float | None
    """Median over the scans, or the worst of them for scales; None where it could not be measured."""
    limit: float | None
    """Its maximum; None for a value without a target."""
    values: tuple[float | None, ...]
    """One per scan."""

    @property
    def met(self) -> bool | None:
        """True if it is within its limit; None without one, or where nothing was measured."""
        if self.limit is None or not self.values:
            return None
        return self.measured is not None and self.measured <= self.limit

    def line(self) -> str:
        """Return the printed form."""
        limit = "" if self.limit is None else f"<= {self.limit:g}"
        measured = f"{self.measured:.4g}" if self.measured is not None else "never" if self.values else "-"
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        return f"{self.group:15s} {self.text:66s} {limit:>9s} {measured:>9s} {verdict}"


class GroupClaims:
    """The claims of a group, from its stored runs."""

    def __init__(self, name: str, weights: str | None = None) -> None:
        self.name, self.group, self.weights = name, GROUPS[name], weights
        self.runs = {method: stored_runs(self.group, method, weights) for method in METHODS}
        self.claims: list[Claim] = []

    def all(self) -> list[Claim]:
        """Return every claim of the group, those with a limit first."""
        group = self.group
        if group.zero_shot is not None:
            self._over("zero-shot error", group.zero_shot, _final_error, "zero-shot")
        if group.against_refine:
            self._against_refine(*group.against_refine)
        if group.polished:
            self._polished()
        if group.guess_of:
            self._guess(group.guess_of)
        for method in ("zero-shot", "polished"):
            self._scale(method)
        self._over("time to 1.05 of LSQ-ML's best over LSQ-ML's to that", None, _time_near, "polished", "lsqml")
        self._over("fine-tuned error over zero-shot's", None, _relative, "fine-tuned", "zero-shot")
        self._over("bare steps' error over zero-shot's", None, _relative, "bare", "zero-shot")
        self._over("polished error over the best of refine", None, _over_best, "polished", "refine")
        self._over("polished error over LSQ-ML's best", None, _over_best, "polished", "lsqml")
        self._over("zero-shot error over LSQ-ML's best", None, _over_best, "zero-shot", "lsqml")
        self._over("refine's own result over the best it passes", None, _over_best, "refine", "refine")
        return self.claims

    def _against_refine(self, method: str, limit: float) -> None:
        self._over(f"{method} error over the best that refine passes through", limit, _over_best, method, "refine")
        if self.name == "dense-1e4":
            text = f"time to 1.03 of refine's best over LSQ-ML's to {LSQML_ERROR}"
            self._over(text, 0.25, _time_to_refine, method, "refine", "lsqml")
        self._over("time to LSQ-ML's best over LSQ-ML's", None, _time_fraction, method, "lsqml")

    def _polished(self) -> None:
        self._over("polished error over LSQ-ML's plateau", 1.0, _over_best, "polished", "lsqml")
        self._over("time to LSQ-ML's plateau over LSQ-ML's", 1 / 20, _time_fraction, "polished", "lsqml")
        self._over("polished error over the best that refine passes through", 1.0, _over_best, "polished", "refine")
        self._over("time to that over refine's", 0.5, _time_fraction, "polished", "refine")

    def _guess(self, known: str) -> None:
        theirs = stored_runs(GROUPS[known], "polished", self.weights)
        pairs = zip(self.runs["polished"], theirs, strict=True)
        values = [_final_error(ours) / _final_error(known_probe) for ours, known_probe in pairs if ours and known_probe]
        self._claim("polished error over that with the known probe", values, 1.3)

    def _scale(self, method: str) -> None:
        values = [abs(run.trace[-1].ratio - 1) for run in self.runs[method] if run is not None]
        text = f"{method}: worst distance of output_vs_truth_ratio from 1"
        self.claims.append(Claim(self.name, text, max(values, default=None), self.group.ratio, tuple(values)))

    def _over(self, text: str, limit: float | None, compute: Callable[..., float | None], *methods: str) -> None:
        """Add a value computed from the runs of several methods on the same scan, on the scans where all have run."""
        together = zip(*(self.runs[method] for method in methods), strict=True)
        self._claim(text, [compute(*runs) for runs in together if None not in runs], limit)

    def _claim(self, text: str, values: list[float | None], limit: float | None) -> None:
        self.claims.append(Claim(self.name, text, median(values), limit, tuple(values)))


def _final_error(run: Run) -> float:
    return run.trace[-1].error


def _relative(run: Run, other: Run) -> float:
    return _final_error(run) / _final_error(other)


def _over_best(run: Run, other: Run) -> float:
    return _final_error(run) / best_point(other.trace).error


def _time_fraction(run: Run, other: Run) -> float | None:
    """Return the CPU seconds to the other's lowest error over the other's."""
    goal = best_point(other.trace)
    cpu_s = time_to_error(run.trace, goal.error)
    return None if cpu_s is None else run.time_factor * cpu_s / (other.time_factor * goal.cpu_s)


def _time_near(run: Run, other: Run) -> float | None:
    """Return the same for an error 5 % larger, which a slowly converging solver reaches much earlier."""
    goal = 1.05 * best_point(other.trace).error
    ours, theirs = time_to_error(run.trace, goal), time_to_error(other.trace, goal)
    return None if ours is None or theirs is None else run.time_factor * ours / (other.time_factor * theirs)


def _time_to_refine(run: Run, reference: Run, lsqml: Run) -> float | None:
    ours = time_to_error(run.trace, 1.03 * best_point(reference.trace).error)
    theirs = time_to_error(lsqml.trace, LSQML_ERROR) or best_point(lsqml.trace).cpu_s
    return None if ours is None else run.time_factor * ours / (lsqml.time_factor * theirs)
