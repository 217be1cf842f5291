"""Measured and predicted patterns of single positions, from the scan file where it is available."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.config.load import LoadConfig
from ptypinn.data.scan import FRAME_TERMS, TERMS, ScanData
from ptypinn.data.validation import MTF_TABLE, is_mtf_table
from ptypinn.errors import InputError
from ptypinn.io.safe.hdf5 import read_json, require_dataset
from ptypinn.io.safe.hdf5_open import open_hdf5
from ptypinn.report.figures.colours import COUNTS_MAP, DIFFERENCE_MAP
from ptypinn.runs.record import as_mapping, find_scan, load_options_from_record, read_scan_record
from ptypinn.viewer.picture_file import OBJECT, FileChangedError, PictureFile, file_version
from ptypinn.viewer.tiles import encode_scalar_png

MAX_OPEN = 4
"""Maximum number of runs whose scans are open."""
MEMORY_GIB = 0.06
"""Scans larger than this are read pattern by pattern."""
MIN_COUNTS = 0.3
"""Counts of the darkest colour of the logarithmic scale."""
MAX_DIFFERENCE = 3.0
"""Difference of square roots of counts at the ends of its colour scale; the standard deviation of noise is 0.5."""
KINDS = ("measured", "predicted", "difference")


@dataclass(frozen=True)
class PatternReader:
    """Measured and predicted patterns of a reconstruction."""

    file: PictureFile
    positions_px: np.ndarray
    """Coordinates (y, x) of the probe array's pixel (0, 0) on the object, (patterns, 2)."""
    probe: np.ndarray
    """Modes, (mode, y, x), sqrt(photons)."""
    indices: np.ndarray
    """Index of every pattern in the scan file."""
    terms: Mapping[str, np.ndarray | None]
    """Terms of the experiment, by the names of `scan.TERMS`."""
    scan: ScanData | None
    """The scan; None where it is not available."""
    note: str
    """Name of the scan file, or the reason why it is not available."""

    def describe(self) -> dict[str, Any]:
        """Return the centres (y, x) of the probe at every position, object pixels, and the source of the scan."""
        centres = self.positions_px + self.probe.shape[-1] / 2
        return {
            "centres_px": np.round(centres, 2).tolist(),
            "size_px": self.probe.shape[-1],
            "measured": self.scan is not None,
            "note": self.note,
        }

    def figures(self, number: int) -> dict[str, Any]:
        """Return position, photons and residual of a pattern.

        Raises:
            InputError: Where there is no such pattern.
        """
        self._require(number)
        y, x = self.positions_px[number] + self.probe.shape[-1] / 2
        figures = {"number": number, "scan_index": int(self.indices[number]), "y_px": float(y), "x_px": float(x)}
        figures["max_counts"] = self._max_counts(number)
        if self.scan is None:
            return figures | {"photons_predicted": float(self.predicted(number).sum())}
        from ptypinn.metrics.data_fit import compute_data_fit

        patch, corner = self._patch(number)
        own = {n: v[number : number + 1] if n in FRAME_TERMS and v is not None else v for n, v in self.terms.items()}
        frame = self.scan.subset(self.indices[number : number + 1]).replace(**own)
        fit = compute_data_fit(frame, patch, self.probe, corner[None])
        return figures | {
            "photons": float(fit.per_pattern_photons[0]),
            "photons_predicted": float(fit.per_pattern_closure[0] * fit.per_pattern_photons[0]),
            "residual": float(fit.per_pattern_residual[0]),
            "expected_residual": float(fit.per_pattern_expected[0]),
        }

    def draw(self, number: int, kind: str) -> bytes:
        """Return a pattern as a PNG: counts on a logarithmic scale, or the difference of their square roots.

        Raises:
            InputError: Where there is no such pattern, or the scan is needed and not available.
        """
        self._require(number)
        if kind not in KINDS:
            raise InputError("pattern", "", repr(kind), f"one of: {', '.join(KINDS)}")
        if self.scan is None and kind != "predicted":
            raise InputError("scan", "", self.note, "the scan file where it was")
        good = None if self.scan is None else self.scan.good
        if kind == "difference":
            return draw_difference(self.measured(number), self.predicted(number), good)
        counts, shown = (self.measured(number), good) if kind == "measured" else (self.predicted(number), None)
        return draw_counts(counts, shown, self._max_counts(number))

    def _max_counts(self, number: int) -> float:
        """Return the counts of the brightest colour: the maximum on good pixels."""
        return brightest_counts(self.predicted(number) if self.scan is None else self.measured(number) * self.scan.good)

    def measured(self, number: int) -> np.ndarray:
        """Return the measured counts, (y, x), zero frequency at N//2."""
        assert self.scan is not None
        return self.scan.counts[self.indices[number : number + 1]][0].astype(np.float32)

    def predicted(self, number: int) -> np.ndarray:
        """Return the expected counts of object and probe, (y, x), zero frequency at N//2."""
        import torch

        from ptypinn.data.pattern_batches import FrameTerms
        from ptypinn.metrics.data_fit import predict
        from ptypinn.physics.propagation import to_centred

        patch, corner = self._patch(number)
        terms = FrameTerms.from_arrays(self.terms, self.probe.shape[-1], torch.device("cpu"))
        frame = terms.take(slice(number, number + 1))
        canvases = torch.from_numpy(patch).view(-1, *patch.shape[-2:])
        counts = predict(canvases, torch.from_numpy(self.probe), corner[None], frame)
        return to_centred(counts)[0].numpy()

    def _patch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the object below the probe, or its slices, and the sub-pixel position on it."""
        position, size = self.positions_px[number], self.probe.shape[-1]
        corner = np.round(position).astype(int)
        rows, columns = (slice(int(start), int(start) + size) for start in corner)
        thick = self.terms["gap_fresnel_numbers"] is not None
        patch = self.file.read_slices(rows, columns) if thick else self.file.read(OBJECT, rows, columns)
        return np.ascontiguousarray(patch), position - corner

    def _require(self, number: int) -> None:
        if not 0 <= number < len(self.positions_px):
            raise InputError("pattern", "", str(number), f"0 to {len(self.positions_px) - 1}")


def brightest_counts(counts: np.ndarray) -> float:
    """Return the counts of the brightest colour of a pattern."""
    return max(float(counts.max()), 10 * MIN_COUNTS)


def draw_counts(counts: np.ndarray, shown: np.ndarray | None, max_counts: float) -> bytes:
    """Return counts as a PNG, on a logarithmic scale.

    Args:
        counts: Counts, (y, x).
        shown: Visible pixels; None shows all.
        max_counts: Counts of the brightest colour.
    """
    limits = (float(np.log10(MIN_COUNTS)), float(np.log10(max_counts)))
    return encode_scalar_png(np.log10(np.maximum(counts, MIN_COUNTS / 10)), shown, limits, COUNTS_MAP)


def draw_difference(measured: np.ndarray, predicted: np.ndarray, shown: np.ndarray | None) -> bytes:
    """Return the difference of the square roots of counts as a PNG."""
    limits = (-MAX_DIFFERENCE, MAX_DIFFERENCE)
    return encode_scalar_png(np.sqrt(measured) - np.sqrt(predicted), shown, limits, DIFFERENCE_MAP)


class PatternReaderCache:
    """Pattern readers of the most recently viewed runs."""

    def __init__(self) -> None:
        self._readers: OrderedDict[str, PatternReader] = OrderedDict()
        self._scans: OrderedDict[str, tuple[ScanData | None, str]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, file: PictureFile, folder: Path) -> PatternReader:
        """Return the reader of a reconstruction.

        Args:
            file: Its header.
            folder: Folder of the run's results.

        Raises:
            InputError: Where the file cannot be read.
            FileChangedError: Where the file was replaced meanwhile.
        """
        with self._guard:
            key = f"{file.path} {file.version}"
            if key not in self._readers:
                self._readers[key] = self._read(file, folder)
            self._readers.move_to_end(key)
            while len(self._readers) > MAX_OPEN:
                self._readers.popitem(last=False)
            return self._readers[key]

    def _read(self, file: PictureFile, folder: Path) -> PatternReader:
        """Read positions and probe, and search for the scan in the places that the run recorded."""
        source = str(file.path)
        with open_hdf5(file.path) as content:
            if file_version(file.path) != file.version:
                raise FileChangedError(source)
            positions, probe = (require_dataset(content, source, file.group + n)[()] for n in ("positions_px", "probe"))
            subset = content.get(file.group + "patterns")
            indices = np.arange(len(positions)) if subset is None else subset[()].astype(np.int64)
            terms = {name: None if (term := content.get(file.group + name)) is None else term[()] for name in TERMS}
            provenance = as_mapping(read_json(content, source, f"{file.group}provenance"))
        _check_positions(file, positions, probe, indices)
        _check_terms(file, terms, len(positions), probe.shape[-1])
        scan, note = self._find_scan(folder, provenance, indices, probe.shape[-1])
        return PatternReader(file, positions.astype(float), probe.astype(np.complex64), indices, terms, scan, note)

    def _find_scan(
        self, folder: Path, provenance: Mapping[str, Any], indices: np.ndarray, size: int
    ) -> tuple[ScanData | None, str]:
        """Return the scan and a note on it; a run in progress, which changes often, is searched only once."""
        record = read_scan_record(folder, provenance)
        key = json.dumps([str(folder), record, size, int(indices.max(initial=-1))], sort_keys=True, default=str)
        if key not in self._scans:
            self._scans[key] = _load_scan(folder, record, indices, size)
        self._scans.move_to_end(key)
        while len(self._scans) > MAX_OPEN:
            self._scans.popitem(last=False)
        return self._scans[key]


def _load_scan(folder: Path, record: Mapping[str, Any], indices: np.ndarray, size: int) -> tuple[ScanData | None, str]:
    from ptypinn.io.load_save import load

    path = find_scan(folder, record)
    if path is None:
        return None, f"{record.get('file', 'the scan file')} was moved or has changed"
    notes: list[str] = []
    options = {**as_mapping(record["options"]), "memory_budget_gib": MEMORY_GIB}
    try:
        scan = load(path, load_options_from_record(LoadConfig(), options, (), notes, (folder, path.parent)))
    except (InputError, OSError) as error:
        return None, f"the scan cannot be read again ({error})"
    if scan.size != size or indices.max(initial=-1) >= scan.n_patterns:
        return None, f"{path.name} contains other patterns"
    return scan, path.name


def _check_positions(file: PictureFile, positions: np.ndarray, probe: np.ndarray, indices: np.ndarray) -> None:
    """Raise `InputError` where positions or probe do not fit the object."""
    problem = ""
    if positions.ndim != 2 or positions.shape[1] != 2 or len(indices) != len(positions):
        problem = f"positions of shape {positions.shape} and {len(indices)} numbers"
    elif probe.ndim != 3 or probe.shape[1] != probe.shape[2]:
        problem = f"a probe of shape {probe.shape}"
    elif len(positions) and ((low := np.round(positions)) < 0).any() | (low + probe.shape[-1] > file.shape).any():
        problem = "patches that extend beyond the object"
    if problem:
        raise InputError(str(file.path), "positions_px", problem, f"positions on an object of {file.shape} pixels")


def _check_terms(file: PictureFile, terms: Mapping[str, np.ndarray | None], frames: int, size: int) -> None:
    """Raise `InputError` where terms of the experiment do not fit the positions and the probe."""
    shapes = {"flux": (frames,), "beam_px": (frames, 2), "background": (size, size), "point_spread_px": ()}
    images, weights = terms["probe_variation"], terms["probe_weights"]
    order = images.shape[:2] if images is not None and images.ndim == 4 and weights is not None else (0, 0)
    shapes |= {"probe_variation": (*order, size, size), "probe_weights": (frames, order[0])}
    if (mtf := terms["mtf"]) is not None and not is_mtf_table(mtf):
        raise InputError(str(file.path), "mtf", f"values of shape {mtf.shape}", MTF_TABLE)
    gaps = terms["gap_fresnel_numbers"]
    if gaps is not None and (gaps.shape != (file.slices - 1,) or not (np.isfinite(gaps) & (gaps > 0)).all()):
        expected = f"positive numbers, one for every gap between {file.slices} slices"
        raise InputError(str(file.path), "gap_fresnel_numbers", f"values of shape {gaps.shape}", expected)
    shapes["sample_tilt"] = (2,)
    for name, shape in shapes.items():
        values = terms[name]
        if values is not None and (values.shape != shape or not np.isfinite(values).all()):
            raise InputError(str(file.path), name, f"values of shape {values.shape}", f"finite ones of shape {shape}")
