"""ptychi solves the arrays of our NPZ file, by its own conventions, and finds our object pixel for pixel."""

import numpy as np
import pytest

from ptypinn.config.simulate import SimulateConfig
from ptypinn.data.depth import compute_gaps
from ptypinn.data.positions import canvas_frame
from ptypinn.io.load_save import save
from ptypinn.metrics.alignment import align
from ptypinn.solvers.lsqml import LsqmlOptions, lsqml_task
from ptypinn.stages.simulate import simulate

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]
api = pytest.importorskip("ptychi.api")
EPOCHS = 30


def solve(arrays, size):
    """LSQ-ML from a flat object; positions are those of the probe's middle, (N - 1) / 2, on the object's array."""
    from ptychi.api.task import PtychographyTask

    options = api.LSQMLOptions()
    options.reconstructor_options.num_epochs = EPOCHS
    options.reconstructor_options.default_device = "cpu"
    options.reconstructor_options.rescale_probe_intensity_in_first_epoch = False
    options.object_options.remove_object_probe_ambiguity.enabled = False
    options.object_options.determine_position_origin_coords_by = "specified"
    options.object_options.position_origin_coords = [0.0, 0.0]
    options.probe_options.optimizable = False
    task = PtychographyTask(
        options,
        diffraction_data=arrays["diffraction"].astype(np.float32),
        object_data=np.ones((1, *arrays["objectGuess"].shape), np.complex64),
        probe_data=arrays["probeGuess"][None] / size,
        probe_position_y_px=arrays["ycoords"] - 0.5,
        probe_position_x_px=arrays["xcoords"] - 0.5,
    )
    task.run()
    return task.get_data_to_cpu("object", as_numpy=True)[0]


def test_it_finds_our_object(tmp_path):
    config = SimulateConfig(size=32, object_size=(80, 88), n_patterns=64, photons=1e7)
    scan = simulate(config)
    with np.load(save(scan, tmp_path / "scan.npz", "npz")) as arrays:
        result = solve(arrays, scan.size)
    middle = np.s_[20:-20, 20:-20]
    truth = scan.truth[middle]

    def error(image):
        inside = image[middle]
        factor = np.vdot(inside, truth) / np.vdot(inside, inside)
        return np.linalg.norm(factor * inside - truth) / np.linalg.norm(truth)

    assert result.shape == scan.truth.shape
    assert error(result) < 0.1
    others = [result.conj(), result[::-1], result[:, ::-1], result[::-1, ::-1]]
    assert min(error(image) for image in others) > 2 * error(result)


def test_its_slices_are_ours_in_our_order(tmp_path):
    """Multislice LSQ-ML: signs of phase and propagation, order of the slices, and distances are the same."""
    sample = {"object": "dead_leaves", "phase_range": (0.0, 0.8), "amplitude_range": (1.0, 0.85), "slices": 2}
    light = {"probe": "disk", "probe_diameter_px": 14.0, "curvature_rad": 6.0, "photons": 1e7}
    scan = simulate(SimulateConfig(**sample, **light, size=32, object_size=(76, 76), n_patterns=169))
    gaps = compute_gaps(scan, scan.experiment.slice_spacing_m.tolist())
    with lsqml_task(scan.replace(gap_fresnel_numbers=gaps), LsqmlOptions(refine_probe=False)) as task:
        for _ in range(3 * EPOCHS):
            task.step()
        slices = task.slices()
    (y, x), (height, width) = canvas_frame(scan)
    truths = scan.experiment.slices[:, y : y + height, x : x + width]
    middle = np.zeros((height, width), bool)
    middle[16:-16, 16:-16] = True

    def error(image, truth):
        aligned = align(image, truth, middle, ramp=True, shift=True)
        ours, target = aligned.image[aligned.mask], truth[aligned.mask]
        return np.linalg.norm(ours * np.vdot(ours, target) / np.vdot(ours, ours) - target) / np.linalg.norm(target)

    same, other = ([error(*pair) for pair in zip(slices, order, strict=True)] for order in (truths, truths[::-1]))
    assert max(same) < 0.15
    assert min(other) > 2 * max(same)
