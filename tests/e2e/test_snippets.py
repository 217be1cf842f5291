"""Every command and every line of Python in the README and in the documentation runs, in order, page by page."""

from __future__ import annotations

import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from snippets import snippets_of

import ptypinn as pp

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHORTER = {
    "pretrain": [
        *(
            "--epochs=1",
            "--scans-per-epoch=2",
            "--replay-steps=0",
            "--states-per-scan=1",
            "--max-rounds-known-probe=1",
            "--workers=0",
        ),
        *("--max-rounds-guessed-probe=1", "--window-px=64", "--widths=4,4,4,4", "--val-scans=1", "--card-scans=1"),
    ],
    "finetune": ["--init-weights=none", "--widths=4,4,4,4", "--epochs=1", "--rounds=1", "--device=cpu"],
    "demo": ["--object-size", "64", "--size", "32", "--rounds", "1"],
    "train": ["--epochs", "1"],
    "refine": ["--iterations", "4"],
    "view": ["--port", "0"],
    "watch": ["--rounds=1", "--probe-rounds=1", "--settle-s=0.1", "--threads=1"],
    "live": ["--rounds", "1"],
    "simulate": ["--size", "32", "--object-size", "80,80", "--n-patterns", "36"],
}
"""Options that tests add so that a command takes seconds; the last of two equal options counts."""


@pytest.fixture
def desk(tmp_path, monkeypatch, scan_file, quick_pictures):
    """A folder with the files that the pages call the reader's own."""
    scan = pp.load(scan_file)
    pp.save(scan.replace(truth=None), tmp_path / "my_scan.cxi")
    amplitudes = np.sqrt(np.asarray(scan.counts, np.float32))
    arrays = {"positions_px": scan.positions_px, "probe_guess": scan.require_probe()[0]}
    np.savez(tmp_path / "amplitudes.npz", diffraction=amplitudes, **arrays)
    monkeypatch.setattr("ptypinn.solvers.positions.CORE_ITERATIONS", 30)
    monkeypatch.setattr("ptypinn.solvers.positions.ITERATIONS", 30)
    monkeypatch.setattr("ptypinn.solvers.position_cycles.MAX_CYCLES", 1)
    monkeypatch.setattr("ptypinn.viewer.server.serve", lambda *_: None)  # which would go on until interrupted
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_snippet_of_a_page_runs(page, desk, ptypinn):
    namespace: dict[str, object] = {}
    for snippet in snippets_of(page.read_text()):
        if snippet.language == "python":
            exec(compile(snippet.text, f"{page.name}:{snippet.line}", "exec"), namespace)
            continue
        for line in snippet.text.splitlines():
            program, *arguments = shlex.split(line, comments=True) or [""]
            assert program in ("ptypinn", ""), f"{page.name}:{snippet.line}: {line!r} is neither run nor marked"
            if program:
                shorter = [] if "--export" in arguments else SHORTER.get(arguments[0], [])
                done = ptypinn(*arguments, *shorter)
                assert done.code == 0, f"{page.name}:{snippet.line}: {line}: {done.err}"


def test_snippets_are_found():
    page = "```bash\na\n```\n<!-- not run: b -->\n```bash\nb\n```\n```text\nc\n```\n```python\nd = 1\n```\n"
    result = snippets_of(page)
    assert [(snippet.language, snippet.text, snippet.line) for snippet in result] == [
        ("bash", "a\n", 2),
        ("python", "d = 1\n", 12),
    ]
    assert len(snippets_of((ROOT / "README.md").read_text())) >= 6


EXAMPLES = {
    "refine_simulated": {"iterations": 3, "photons": 1e5},
    "train_and_reconstruct": {"folder": Path("model"), "epochs": 1, "photons": 1e5},
    "read_my_file": {"path": Path("my_scan.h5")},
    "picture_and_report": {"scan_file": None, "folder": Path("run"), "rounds": 1},
    "compare_doses": {"doses": [1e4, 1e5], "overlaps": [0.5], "size": 96, "rounds": 1},
    "electrons_4dstem": {"folder": Path("run"), "rounds": 1},
    "why_is_my_amplitude_wrong": {"folder": Path("run"), "iterations": 4},
}
"""Arguments that let every example finish in seconds."""


def example(name: str):
    path = ROOT / "examples" / f"{name}.py"
    assert len(path.read_text().splitlines()) <= 60
    return runpy.run_path(str(path))["main"](**EXAMPLES[name])


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_simulated_scan_is_refined_on_the_true_scale(elsewhere):
    assert example("refine_simulated") == pytest.approx(1, abs=0.05)


def test_a_network_reconstructs_a_scan_that_it_has_not_seen(elsewhere):
    result = example("train_and_reconstruct")
    assert result["flux_closure"] == pytest.approx(1, abs=0.2)
    assert (elsewhere / "model" / "new_scan.h5").exists()


def test_arrays_of_any_origin_become_a_scan_file(elsewhere):
    scan = example("read_my_file")
    assert (scan.n_patterns, scan.size, scan.probe_gauge) == (40, 32, "calibrated")
    assert (elsewhere / "my_scan.h5").exists()


def test_a_measured_scan_becomes_picture_report_and_file(elsewhere):
    result = example("picture_and_report")
    assert result.metrics["output_vs_truth_ratio"] == pytest.approx(1, abs=0.1)
    product = {path.name for path in (elsewhere / "run").iterdir()}
    assert product == {"scan.h5", "reconstruction.h5", "object.png", "report.html"}


def test_more_dose_leaves_less_error(elsewhere, capsys):
    few, many = example("compare_doses")
    assert many["complex_error"] < few["complex_error"]
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_dose_is_in_electrons(elsewhere):
    recon, dose = example("electrons_4dstem")
    shone = len(recon.positions_px) * 2e4
    area = (0.4 * 3 * 12) ** 2
    assert dose == pytest.approx(shone / area, rel=0.25)


def test_lost_amplitude_is_found(elsewhere):
    result = example("why_is_my_amplitude_wrong")
    assert [finding.stage for finding in result["counts"].findings] == ["loading"]
    assert result["amplitude"].healthy


def test_every_example_is_tested():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)
