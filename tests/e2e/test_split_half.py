"""Resolution without a truth, through the command line."""

import dataclasses
import json

from tests.solvers.quasi_newton.conftest import curved_probe, make_scan, raster, textured_object

from ptypinn.cli.main import main
from ptypinn.io.load_save import save


def test_two_halves_of_a_scan_give_a_resolution_without_a_truth(tmp_path, capsys):
    obj = textured_object((80, 80))
    scan = make_scan(obj, curved_probe(photons=1e5), raster(obj.shape, 32, 4), seed=1)
    save(dataclasses.replace(scan, truth=None), tmp_path / "scan.h5")
    out = tmp_path / "run"
    options = ["--split-half", "--iterations", "15", "--device", "cpu", "--json", "--quiet"]
    assert main(["refine", str(tmp_path / "scan.h5"), "--output-dir", str(out), *options]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert 2 <= metrics["split_half_frc_half_bit_px"] < 20
    assert "complex_error" not in metrics
    assert json.loads((out / "run_metadata.json").read_text())["timings_s"]["split half"] > 0
