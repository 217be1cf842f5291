"""Messages of a scan in progress, and the interface of the sources that deliver them.

A source translates the protocol of a detector or a file into these messages and does nothing else: joining, spooling
and counting of losses are the same for all. Frames and positions may come in any order, late, or more than once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64, Num

METADATA_FIELDS = (
    "energy_eV",
    "detector_distance_m",
    "detector_pixel_m",
    "particle",
    "n_frames",
    "mask",
    "beam_centre_px",
)
"""Names that `Metadata.values` may have; a mask is boolean, True for good pixels, and the beam centre (y, x)."""


@dataclass(frozen=True)
class Metadata:
    """Facts about the scan; those of a later message replace earlier ones of the same name."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Values by the names of `METADATA_FIELDS`, in SI units and electron volts."""
    name: str = ""
    """Name of the scan at its source, such as a series number; empty where it has none."""


@dataclass(frozen=True)
class Frames:
    """A block of detector frames."""

    numbers: Int64[np.ndarray, " frames"]
    """Number of every frame, which its position has too."""
    counts: Num[np.ndarray, "frames y x"]
    """Values as the detector has them."""
    times_s: Float64[np.ndarray, " frames"] | None = None
    """Times of the exposures by the clock of the detector, seconds; None where it states none."""


@dataclass(frozen=True)
class Positions:
    """A block of scan positions: by frame number, or by time where an encoder runs at a rate of its own."""

    positions_m: Float64[np.ndarray, "positions 2"]
    """Coordinates (y, x) of the beam on the sample, metres."""
    numbers: Int64[np.ndarray, " positions"] | None = None
    """Number of the frame that each belongs to; None where `times_s` joins them."""
    times_s: Float64[np.ndarray, " positions"] | None = None
    """Times by the clock of the encoder, seconds; None where `numbers` joins them."""


@dataclass(frozen=True)
class End:
    """The source has delivered everything."""

    n_frames: int | None = None
    """Frames that the scan had, where the source states it: what is missing of them was lost on the way."""


@dataclass(frozen=True)
class Rejected:
    """A message that could not be understood; it is counted, and the stream goes on."""

    reason: str
    """Cause in a few words, for the log: at most one line, without content of the message beyond a short excerpt."""
    number: int | None = None
    """Number of the frame, where that could be read."""


@dataclass(frozen=True)
class Dropped:
    """Frames that the source had to throw away because the receiver did not keep up."""

    numbers: Int64[np.ndarray, " frames"]
    """Their numbers."""


Message = Metadata | Frames | Positions | End | Rejected | Dropped


@runtime_checkable
class Source(Protocol):
    """A scan in progress, from wherever it comes."""

    can_wait: bool
    """True if what is not taken now is delivered later, as from a file; False if waiting loses frames."""

    def messages(self) -> Iterator[Message | None]:
        """Yield messages as they arrive, None at least every 0.2 s while nothing does, and `End` last.

        Nothing that arrives from outside raises: it becomes `Rejected`. `InputError` is for what the user gave: an
        address that cannot be opened, a file that is no scan.
        """

    def close(self) -> None:
        """Free sockets, files and threads; called from the thread that runs `messages`, or after its end."""
