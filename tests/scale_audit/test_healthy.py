"""Healthy runs raise no alarm: at every dose, with every probe, for every way of solving."""

import pytest

from ptypinn.config.reconstruct import PatchNetworkConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.config.train import TrainConfig
from ptypinn.scale import multiply_discrepancies
from ptypinn.stages.diagnose import diagnose
from ptypinn.stages.reconstruct import reconstruct
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate
from ptypinn.stages.train import train

DOSES = [1e3, 1e5, 1e7, 1e9]
SAMPLE = {"size": 32, "object_size": (96, 96), "n_patterns": 220, "seed": 5}
SCANS = {
    "disk, cnn": {"probe": "disk", "probe_diameter_px": 12.0, "amplitude_mean": 2.7, "phase_range": (0.0, 0.0)},
    "zone plate, trained scale": {"probe": "zone_plate"},
    "gaussian, cnn of groups": {
        "probe": "gaussian",
        "probe_diameter_px": 12.0,
        "object": "dead_leaves",
        "dead_pixels": 20,
    },
    "disk, refine": {"probe": "disk", "probe_diameter_px": 12.0, "object": "grf"},
    "zone plate, refine": {"probe": "zone_plate", "mode_fractions": (0.8, 0.2)},
}
NETWORKS = {
    "disk, cnn": {},
    "zone plate, trained scale": {"trainable_log_scale": True},
    "gaussian, cnn of groups": {"gridsize": 2},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One network per kind of scan, trained on half of it at a middle dose."""
    return {
        name: train(
            simulate(SimulateConfig(**SAMPLE, **SCANS[name], photons=1e6)),
            TrainConfig(**options, epochs=3, split_axis="y", device="cpu"),
            output_dir=tmp_path_factory.mktemp("model"),
        )
        for name, options in NETWORKS.items()
    }


@pytest.mark.parametrize("dose", DOSES)
@pytest.mark.parametrize("name", SCANS)
def test_no_false_alarm(name, dose, models):
    scan = simulate(SimulateConfig(**SAMPLE, **SCANS[name], photons=dose))
    if name in NETWORKS:
        recon = reconstruct(scan, models[name], PatchNetworkConfig(subset="held_out", device="cpu"))
    else:
        recon = refine(scan, RefineConfig(iterations=30, refine_probe=False, device="cpu"))
    for scan_or_real in (scan, scan.replace(truth=None)):
        diagnosis = diagnose(recon, scan_or_real)
        assert diagnosis.healthy, diagnosis.verdict
        assert multiply_discrepancies(diagnosis.ledger) == pytest.approx(diagnosis.total, rel=1e-6)
