"""The record of a survey in a scan's provenance, as plain values, and in sentences for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64

from ptypinn.data.ranges import list_ranges

if TYPE_CHECKING:
    from ptypinn.data.bad_frames import FrameFinding
    from ptypinn.data.bad_pixels import PixelFinding
    from ptypinn.data.survey import Survey

SURVEY = "survey"
"""Key of the record in the provenance of a scan."""
MAX_LISTED = 1000
"""Maximum number of pixels, or of cosmic rays, that a record lists one by one."""
PIXEL_WORDS = {
    "gap": "hold {value} in every pattern",
    "constant": "read {value} in every pattern",
    "hot": "are hot: far above their neighbours in every pattern",
    "dead": "read zero in every pattern amid pixels that count",
    "saturated": "saturate at {value} in many patterns",
}
FRAME_WORDS = {
    "rest": ("is empty, at one position with others at the end", "are empty, all at one position at the end"),
    "stray": ("lies far from all others", "lie far from all others"),
    "empty": ("holds no photons among neighbours that do", "hold no photons among neighbours that do"),
    "bright": ("holds many times the photons of its neighbours", "hold many times the photons of their neighbours"),
    "unlike": ("resembles none of its neighbours", "resemble none of their neighbours"),
    "repeated": ("repeats the counts of another", "repeat the counts of others"),
}


def record_survey(survey: Survey, size: int, numbers: Int64[np.ndarray, " frames"]) -> dict[str, Any]:
    """Return the record of a survey: numbers, texts, lists and dictionaries of them.

    Args:
        survey: The survey.
        size: Edge of the patterns, pixels.
        numbers: Number of every frame in its file, for the record.
    """
    record: dict[str, Any] = {"n_frames": survey.n_frames, "masked_pixels": int(survey.bad(size).sum())}
    record["pixels"] = [_pixel_record(defect) for defect in survey.pixels]
    record["frames_left_out"] = numbers[survey.left_out].tolist()
    record["frames"] = [_frame_record(defect, numbers) for defect in survey.frames]
    hit = numbers[survey.rays.frame]
    record["cosmic_rays"] = {
        "readings": len(survey.rays),
        "frames": np.unique(hit).tolist()[:MAX_LISTED],
        "frame_y_x": np.column_stack([hit, survey.rays.pixel])[:MAX_LISTED].tolist(),
    }
    record["saturation_level"] = survey.saturation_level
    record["saturated_pixels"] = survey.saturated_pixels
    record["saturated_frames"] = survey.saturated_frames
    record["islands"] = list(survey.islands)
    return record


def _pixel_record(defect: PixelFinding) -> dict[str, Any]:
    value = defect.value
    plain = None if value is None else "nan" if np.isnan(value) else value
    return {"kind": defect.kind, "count": len(defect.pixels), "value": plain, "y_x": _first(defect.pixels)}


def _frame_record(defect: FrameFinding, numbers: np.ndarray) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if defect.kind == "repeated":
        more["same_as"] = numbers[defect.numbers.astype(np.int64)].tolist()
    elif defect.kind in ("bright", "stray"):
        more["times_photons" if defect.kind == "bright" else "distance_px"] = defect.numbers.tolist()
    return {"kind": defect.kind, "frames": numbers[defect.frames].tolist(), **more}


def _first(pixels: np.ndarray) -> list[list[int]]:
    return pixels[:MAX_LISTED].tolist()


def describe_survey(record: Mapping[str, Any]) -> list[str]:
    """Return a sentence per defect of a record, such as `253 pixels hold 65535 in every pattern: masked`."""
    lines = [_pixel_line(entry) for entry in record.get("pixels", [])]
    lines += describe_left_out(record)
    rays = record.get("cosmic_rays", {})
    if rays.get("readings"):
        several = "reading is" if rays["readings"] == 1 else "readings are"
        where = _name(rays["frames"])
        lines.append(f"{rays['readings']} {several} hit by cosmic rays, in {where}: replaced by their surroundings")
    lines += _saturation_lines(record)
    if islands := record.get("islands"):
        sizes = ", ".join(str(number) for number in islands)
        lines.append(
            f"positions lie in {len(islands)} islands ({sizes} of them) far apart, and the canvas between them costs "
            "memory and time; --select reads one of them"
        )
    return lines


def describe_left_out(record: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the frames of every defect that leaves them out, such as `frame 7 holds no photons ...`."""
    return [_frame_line(entry) for entry in record.get("frames", [])]


def _saturation_lines(record: Mapping[str, Any]) -> list[str]:
    level = record.get("saturation_level")
    if level is None:
        return []
    masked = sum(entry["count"] for entry in record["pixels"] if entry["kind"] == "saturated")
    pixels, frames = record["saturated_pixels"], record["saturated_frames"]
    if pixels == masked:
        return []
    where = f"{pixels} pixels in all saturate at {level:.10g}, in {frames} patterns"
    return [f"{where}: those that do so in few patterns are not masked"]


def _pixel_line(entry: Mapping[str, Any]) -> str:
    value, kind = entry["value"], entry["kind"]
    text = "flags" if value is None else value if isinstance(value, str) else f"{value:.10g}"
    words = PIXEL_WORDS[kind].format(value=text)
    if entry["count"] == 1:
        words = words.replace("hold", "holds").replace("read ", "reads ").replace("are hot", "is hot")
        words = words.replace("saturate ", "saturates ").replace("their", "its")
    return f"{entry['count']} {'pixel' if entry['count'] == 1 else 'pixels'} {words}: masked"


def _frame_line(entry: Mapping[str, Any]) -> str:
    frames, kind = entry["frames"], entry["kind"]
    words = FRAME_WORDS[kind][len(frames) > 1]
    if kind == "bright":
        words = words.replace("many times", f"{_about(np.median(entry['times_photons']))} times")
    if kind == "stray":
        words = words.replace("far from", f"{_about(max(entry['distance_px']))} px from")
    if kind == "repeated" and len(frames) == 1:
        words = words.replace("another", f"frame {int(entry['same_as'][0])}")
    return f"{_name(frames)} {words}: left out"


def _name(frames: list[int]) -> str:
    return f"{'frame' if len(frames) == 1 else 'frames'} {list_ranges(sorted(frames))}"


def _about(number: float) -> str:
    return f"{float(f'{number:.2g}'):.10g}"
