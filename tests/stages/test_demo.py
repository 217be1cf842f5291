"""The demonstration runs as its configuration says."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from ptypinn.config.shared import option_name
from ptypinn.config.simulate import DemoConfig
from ptypinn.errors import InputError
from ptypinn.io.load_save import load
from ptypinn.stages.demo import configure_demo_scan, configure_demo_solver, demo


def test_the_shipped_configuration_is_the_default():
    shipped = yaml.safe_load((Path(__file__).parents[2] / "configs" / "demo.yaml").read_text())
    assert DemoConfig(**shipped) == DemoConfig()


def test_what_the_configuration_says_reaches_the_stages():
    config = DemoConfig(object_size=96, size=32, photons=2e4, overlap=0.6, rounds=3, seed=5)
    simulated, solved = configure_demo_scan(config), configure_demo_solver(config)
    assert (simulated.object_size, simulated.size, simulated.photons) == ((96, 96), 32, 2e4)
    assert (simulated.overlap, simulated.seed) == (0.6, 5)
    assert (solved.rounds, solved.refine_probe, solved.seed) == (3, False, 5)


def test_a_small_demonstration_keeps_its_scan_and_its_scale(tmp_path):
    reports, records = [], []
    config = DemoConfig(object_size=96, size=48, photons=1e5, device="cpu")
    product = demo(
        config, output_dir=tmp_path, progress=lambda stage, *_, **__: reports.append(stage), watch=records.append
    )
    assert {"simulate", "reconstruct"} <= set(reports)
    assert len(records) == product.recon.provenance["rounds"]
    stored = load(tmp_path / "scan.h5")
    np.testing.assert_array_equal(np.asarray(stored.counts), np.asarray(product.scan.counts))
    assert product.recon.object.shape == (96, 96)
    assert product.evaluation.metrics["flux_closure"] == pytest.approx(1, abs=1e-3)
    assert product.evaluation.metrics["output_vs_truth_ratio"] == pytest.approx(1, abs=0.01)
    assert product.evaluation.metrics["complex_error"] < 0.06


@pytest.mark.parametrize(("field", "value"), [("object_size", 16), ("threads", 0)])
def test_impossible_demonstrations_are_refused(field, value):
    with pytest.raises(InputError, match=option_name(field)):
        DemoConfig(**{field: value})
