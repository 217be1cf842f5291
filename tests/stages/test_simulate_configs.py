"""Every shipped configuration of a simulated scan runs, in seconds."""

from pathlib import Path

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from ptypinn.config.simulate import SimulateConfig
from ptypinn.stages.simulate import simulate

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("simulate*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_run(path):
    parser = ArgumentParser()
    parser.add_class_arguments(SimulateConfig, nested_key=None)
    config = SimulateConfig(**vars(parser.parse_path(path)))
    scan = simulate(config)
    assert scan.truth.shape == config.object_size
    assert scan.provenance["probe_power_at_edge"] < 5e-3
    assert scan.counts.sum((1, 2), dtype=np.float64).mean() == pytest.approx(
        scan.provenance["photons_expected"], rel=0.01
    )


def test_there_is_something_to_run():
    assert len(SHIPPED) >= 2
