"""The probe that a solver starts from, where a scan holds none or another one is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ptypinn.config.shared import Config, require, require_positive

ProbeModel = Literal["auto", "zone-plate", "electron", "aperture", "gaussian"]
LENSES, SPOTS = ("zone-plate", "electron"), ("aperture", "gaussian")
"""Models with a pupil on the detector and a defocus, and those with a size at the sample."""


@dataclass(frozen=True)
class ProbeStartConfig(Config):
    """Optics of the first guess of the probe.

    >>> ProbeStartConfig(probe_model="aperture", probe_diameter_m=5e-6).probe_model
    'aperture'
    >>> ProbeStartConfig(defocus_m=1e-4)
    Traceback (most recent call last):
        ...
    ptypinn.errors.InputError: --defocus-m: found 0.0001, expected --probe-model zone-plate or electron as well, which \
reads it
    """

    probe_model: ProbeModel = "auto"
    """Probe to start from: the scan's own, or where it holds none the one that explains the patterns around the middle
    of the scan best (auto); or a zone plate, an electron lens, an aperture close to the sample, or a Gaussian beam, in
    place of the scan's own. What is not given about it is found on these patterns."""
    outermost_zone_m: float | None = None
    """Width of the outermost zone of the zone plate, metres; the cone on the detector gives it by default."""
    central_stop: float | None = None
    """Diameter of the central stop over that of the zone plate, beside --outermost-zone-m; none by default."""
    convergence_mrad: float | None = None
    """Convergence semi-angle of the electron probe, milliradians; the bright-field disk gives it by default."""
    defocus_m: float | None = None
    """Distance from the focus to the sample, metres, positive where the sample is downstream; found by trial by
    default."""
    probe_diameter_m: float | None = None
    """Diameter of the aperture, or full width at half maximum of the Gaussian beam's intensity, metres; the mean
    pattern gives it by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "outermost_zone_m", "convergence_mrad", "probe_diameter_m")
        require(self, "central_stop", self.central_stop is None or 0 <= self.central_stop < 1, "a fraction below 1")
        finite = self.defocus_m is None or abs(self.defocus_m) < float("inf")
        require(self, "defocus_m", finite, "a finite number")

    def unread(self) -> Mapping[str, str]:
        """Return the fields that the chosen model does not read."""
        readers = {
            "outermost_zone_m": LENSES[:1],
            "central_stop": LENSES[:1] if self.outermost_zone_m else (),
            "convergence_mrad": LENSES[1:],
            "defocus_m": LENSES,
            "probe_diameter_m": SPOTS,
        }
        unread = {name: models for name, models in readers.items() if self.probe_model not in models}
        stop = "--outermost-zone-m" if self.probe_model in LENSES[:1] else "--probe-model zone-plate"
        return {
            **super().unread(),
            **{name: f"--probe-model {' or '.join(models) or stop}" for name, models in unread.items()},
            **({"central_stop": stop} if "central_stop" in unread else {}),
        }
