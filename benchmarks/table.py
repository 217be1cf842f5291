"""The groups of scans that are compared, and what the comparison is to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from judge import best, first_below, median
from scenes import Scene
from solvers import LEARNED, METHODS, store_of
from store import Run

SEEDS = range(5)
LSQML_ERROR = 0.0566
"""Where the time of LSQ-ML is taken on dense texture at 1e4 photons."""


FEWER = {"epie": 1, "fine-tuned": 0}


@dataclass(frozen=True)
class Group:
    """Scans whose medians are taken together."""

    title: str
    scenes: tuple[Scene, ...]
    zero_shot: float | None = None
    """Largest error of the zero-shot result."""
    against_refine: tuple[str, float] | None = None
    """Method, and largest ratio of its error to the best that `refine` passes through."""
    polished: bool = False
    """Judge the polished result against LSQ-ML and `refine`."""
    guess_of: str | None = None
    """Group with the same scans and their true probes."""
    ratio: float = 0.01
    """Largest distance of `output_vs_truth_ratio` from 1."""
    scans: tuple[tuple[str, int], ...] = ()
    """Methods that run on the first so many scans only: `FEWER`, where nothing else is said."""

    def number(self, method: str) -> int:
        """On how many scans a method runs."""
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


def runs_of(group: Group, method: str, weights: str | None) -> list[Run | None]:
    """Stored runs of a method, one per scan; None where there is none with these weights (their digest)."""
    return [stored(method, scene, weights) for scene in group.scenes]


def stored(method: str, scene: Scene, weights: str | None) -> Run | None:
    """A stored run; of the learned solver only with these weights, where they are given."""
    wanted = {"weights": weights} if weights and method in LEARNED else None
    return store_of(method).find(method, scene, wanted)


@dataclass(frozen=True)
class Claim:
    """One figure that the comparison is to show."""

    group: str
    what: str
    measured: float | None
    """Median over the scans, or the worst of them for scales; None where it could not be had."""
    limit: float | None
    """Largest that it may be; None for what is only told."""
    values: tuple[float | None, ...]
    """One per scan."""

    @property
    def met(self) -> bool | None:
        """Whether it is within its limit; None without one, or where nothing was measured."""
        if self.limit is None or not self.values:
            return None
        return self.measured is not None and self.measured <= self.limit

    def line(self) -> str:
        """Printed form."""
        limit = "" if self.limit is None else f"<= {self.limit:g}"
        measured = f"{self.measured:.4g}" if self.measured is not None else "never" if self.values else "-"
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        return f"{self.group:15s} {self.what:66s} {limit:>9s} {measured:>9s} {verdict}"


class Account:
    """Takes the claims of a group from its stored runs."""

    def __init__(self, name: str, weights: str | None = None) -> None:
        self.name, self.group, self.weights = name, GROUPS[name], weights
        self.runs = {method: runs_of(self.group, method, weights) for method in METHODS}
        self.claims: list[Claim] = []

    def all(self) -> list[Claim]:
        """Every claim of the group, those first that have a limit."""
        group = self.group
        if group.zero_shot is not None:
            self._over("zero-shot error", group.zero_shot, _final, "zero-shot")
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
            told = f"time to 1.03 of refine's best over LSQ-ML's to {LSQML_ERROR}"
            self._over(told, 0.25, _time_to_refine, method, "refine", "lsqml")
        self._over("time to LSQ-ML's best over LSQ-ML's", None, _time_share, method, "lsqml")

    def _polished(self) -> None:
        self._over("polished error over LSQ-ML's plateau", 1.0, _over_best, "polished", "lsqml")
        self._over("time to LSQ-ML's plateau over LSQ-ML's", 1 / 20, _time_share, "polished", "lsqml")
        self._over("polished error over the best that refine passes through", 1.0, _over_best, "polished", "refine")
        self._over("time to that over refine's", 0.5, _time_share, "polished", "refine")

    def _guess(self, known: str) -> None:
        theirs = runs_of(GROUPS[known], "polished", self.weights)
        pairs = zip(self.runs["polished"], theirs, strict=True)
        values = [_final(ours) / _final(known_probe) for ours, known_probe in pairs if ours and known_probe]
        self._claim("polished error over that with the known probe", values, 1.3)

    def _scale(self, method: str) -> None:
        values = [abs(run.trace[-1].ratio - 1) for run in self.runs[method] if run is not None]
        told = f"{method}: worst distance of output_vs_truth_ratio from 1"
        self.claims.append(Claim(self.name, told, max(values, default=None), self.group.ratio, tuple(values)))

    def _over(self, told: str, limit: float | None, figure: Callable[..., float | None], *methods: str) -> None:
        """A figure of the runs of some methods on the same scan, on the scans where all have run."""
        together = zip(*(self.runs[method] for method in methods), strict=True)
        self._claim(told, [figure(*runs) for runs in together if None not in runs], limit)

    def _claim(self, told: str, values: list[float | None], limit: float | None) -> None:
        self.claims.append(Claim(self.name, told, median(values), limit, tuple(values)))


def _final(run: Run) -> float:
    return run.trace[-1].error


def _relative(run: Run, other: Run) -> float:
    return _final(run) / _final(other)


def _over_best(run: Run, other: Run) -> float:
    return _final(run) / best(other.trace).error


def _time_share(run: Run, other: Run) -> float | None:
    """CPU seconds to the other's least error over the other's."""
    goal = best(other.trace)
    spent = first_below(run.trace, goal.error)
    return None if spent is None else run.pace * spent / (other.pace * goal.cpu_s)


def _time_near(run: Run, other: Run) -> float | None:
    """The same for an error 5 % larger, which a solver that creeps towards its least reaches much earlier."""
    goal = 1.05 * best(other.trace).error
    spent, theirs = first_below(run.trace, goal), first_below(other.trace, goal)
    return None if spent is None or theirs is None else run.pace * spent / (other.pace * theirs)


def _time_to_refine(run: Run, reference: Run, lsqml: Run) -> float | None:
    spent = first_below(run.trace, 1.03 * best(reference.trace).error)
    theirs = first_below(lsqml.trace, LSQML_ERROR) or best(lsqml.trace).cpu_s
    return None if spent is None else run.pace * spent / (lsqml.pace * theirs)
