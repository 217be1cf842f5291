"""A real far-field scan, from a probe guess of arbitrary scale to sharp spokes; and a real near-field one, refused."""

from pathlib import Path

import numpy as np
import pytest

import ptypinn as pp
from ptypinn.cli.main import main

DATA = Path(__file__).parents[3] / "shared" / "data"
STAR = DATA / "siemens_star_velociprobe" / "siemens_star.npz"
PROJECTION = DATA / "petra3_p25_nearfield" / "PETRAIII_P25_Near_Field_Ptycho.cxi"


@pytest.mark.skipif(not STAR.exists(), reason="the real Siemens star is not beside the checkout")
def test_siemens_star_is_explained_from_an_analytic_probe_guess():
    scan = pp.load(STAR)
    near = np.linalg.norm(scan.positions_px - np.median(scan.positions_px, 0), axis=1)
    scan = scan.subset(np.sort(np.argsort(near)[:80]))
    recon = pp.refine(scan, pp.RefineConfig(iterations=40, device="cpu"))
    assert recon.metrics["amplitude_residual"] < 0.016
    assert recon.metrics["flux_closure"] == pytest.approx(1, abs=1e-3)
    illuminated = recon.well_illuminated(0.3)
    phase = np.angle(recon.object[illuminated] * np.exp(-1j * np.angle(recon.object[illuminated].mean())))
    assert np.ptp(np.percentile(phase, [5, 95])) > 0.7
    assert np.abs(recon.object[illuminated]).std() < 0.15


@pytest.mark.skipif(not PROJECTION.exists(), reason="the real near-field scan is not beside the checkout")
def test_projection_data_are_refused_with_the_reason(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["refine", str(PROJECTION), "--probe", str(STAR), "--output-dir", str(out)]) == 1
    assert main(["refine", str(PROJECTION), "--output-dir", str(out)]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "near-field" in line
    assert "--geometry far-field" in line
    assert not out.exists()
