"""LSQ-ML of ptychi sees a scan in its own conventions and answers in ours; `make test-interop` has it installed."""

import importlib.util

import numpy as np
import pytest
import torch

from ptypinn.data.scan import ScanData
from ptypinn.errors import InputError
from ptypinn.physics.forward import FAR_FIELD
from ptypinn.physics.patches import split_positions
from ptypinn.physics.propagation import to_centred
from ptypinn.solvers.lsqml import LsqmlOptions, lsqml_task, refine_lsqml, run_lsqml
from ptypinn.solvers.quasi_newton.problem import QuasiNewtonOptions

SIZE, EXTENT = 24, (52, 60)


def options(iterations=5, probe_modes=None) -> QuasiNewtonOptions:
    return QuasiNewtonOptions(
        iterations,
        probe_modes,
        refine_probe=True,
        refine_positions=False,
        loss="amplitude",
        prior=False,
        tolerance=0.0,
    )


def scan_without_noise(*, fractional: bool = False, truth: bool = True, photons: float = 1e6) -> ScanData:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: EXTENT[0], : EXTENT[1]]
    # no symmetry: a transposed, mirrored, shifted or conjugated answer is far from it
    amplitude = 0.8 + 0.15 * np.sin(x / 4.0) * np.cos(y / 7.0 + 0.4)
    object_ = (amplitude * np.exp(0.5j * np.sin(y / 5.0 + x / 9.0))).astype(np.complex64)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    r2 = (y - 0.7) ** 2 + x**2
    probe = np.exp(-r2 / 32 + 0.05j * r2)
    probe = (probe * np.sqrt(photons / np.sum(abs(probe) ** 2))).astype(np.complex64)[None]
    span = np.array(EXTENT) - SIZE
    positions = np.stack(np.meshgrid(*(np.linspace(0, s, 9) for s in span), indexing="ij"), -1).reshape(-1, 2)
    positions = np.clip(positions + rng.uniform(-1, 1, positions.shape), 0, span)
    positions = positions if fractional else np.rint(positions)
    corners, rest = split_positions(torch.from_numpy(positions))
    counts = FAR_FIELD.predict_scan(torch.from_numpy(object_)[None], torch.from_numpy(probe), corners, rest)
    return ScanData(
        counts=to_centred(counts).numpy(),
        positions_px=positions,
        probe=probe,
        probe_gauge="calibrated",
        truth=object_ if truth else None,
        provenance={"object": 0},
    )


def error_and_ratio(result: np.ndarray, scan: ScanData, light: np.ndarray) -> tuple[float, float]:
    illuminated = light > 0.3 * light.max()
    a, b = result[illuminated], scan.truth[illuminated]
    a = a * np.exp(-1j * np.angle(np.vdot(b, a)))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b)), float(abs(a).mean() / abs(b).mean())


@pytest.mark.interop
@pytest.mark.parametrize("fractional", [False, True])
def test_known_probe_gives_the_object_in_our_frame_orientation_and_scale(fractional):
    scan = scan_without_noise(fractional=fractional)
    result = run_lsqml(scan, 30, LsqmlOptions(refine_probe=False))
    error, ratio = error_and_ratio(result.object, scan, result.illumination)
    assert error < 0.02
    assert ratio == pytest.approx(1, abs=0.003)
    np.testing.assert_allclose(result.probe, scan.probe, rtol=1e-5, atol=1e-6 * abs(scan.probe).max())
    assert result.history["loss"][-1] < 0.05 * result.history["loss"][0]


@pytest.mark.interop
def test_truth_is_a_fixed_point():
    scan = scan_without_noise(fractional=True)
    result = run_lsqml(scan, 1, LsqmlOptions(refine_probe=False), initial=scan.truth)
    np.testing.assert_allclose(result.object, scan.truth, atol=2e-3)


@pytest.mark.interop
def test_canvas_without_a_truth_starts_where_the_positions_do():
    scan = scan_without_noise(truth=False)
    moved = scan.replace(positions_px=scan.positions_px + np.array([13.0, -7.0]))
    result = [run_lsqml(s, 3, LsqmlOptions(refine_probe=False)) for s in (scan, moved)]
    np.testing.assert_allclose(result[0].object, result[1].object, atol=1e-4)
    assert np.subtract(result[1].origin_px, result[0].origin_px).tolist() == [13, -7]


@pytest.mark.interop
def test_refined_probe_keeps_its_photons():
    scan = scan_without_noise()
    wide = scan.replace(probe=(scan.probe * np.linspace(0.8, 1.2, SIZE)[:, None]).astype(np.complex64))
    result = refine_lsqml(wide, options(iterations=5, probe_modes=2), torch.device("cpu"), seed=0)
    assert result.probe.shape == (2, SIZE, SIZE)
    assert np.sum(np.abs(result.probe) ** 2) == pytest.approx(np.sum(np.abs(wide.probe) ** 2), rel=1e-3)


@pytest.mark.interop
def test_masked_pixels_carry_no_information():
    scan = scan_without_noise()
    mask = np.ones((SIZE, SIZE), bool)
    mask[3, 5:9] = mask[12, 14] = False
    counts = scan.counts.copy()
    counts[:, ~mask] = 1e9
    result = [
        run_lsqml(scan.replace(mask=mask, counts=c), 2, LsqmlOptions(refine_probe=False)).object
        for c in (scan.counts, counts)
    ]
    np.testing.assert_array_equal(result[0], result[1])


@pytest.mark.interop
def test_global_state_of_torch_and_numpy_is_left_alone():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    with lsqml_task(scan_without_noise(), LsqmlOptions(seed=1)) as task:
        task.step()
    after = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.testing.assert_close(after[0], torch.rand(3))
    np.testing.assert_array_equal(after[1], np.random.rand(3))  # noqa: NPY002
    assert torch.get_default_dtype() == torch.float32


def test_missing_package_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^--engine: .*ptychi.*pip install ptypinn\[ptychi\]$") as caught:
        refine_lsqml(scan_without_noise(), options(), torch.device("cpu"), seed=0)
    assert "\n" not in str(caught.value)
