"""Cost of a report: CPU seconds and memory to write it, its size, and the time a browser takes to open it.

    python benchmarks/report.py [--edges 512 4096] [--repeats 5] [--output FILE.json]

The object is noise, which compresses worst, beside a reference, with a fit of simulated patterns in the smaller cases.
The page is opened several times, and the minimum time is printed: other work on the machine only adds to it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.data.scan import ScanData
from ptypinn.physics.probes import disk_probe
from ptypinn.report.html.report import render_report
from ptypinn.stages.evaluate import evaluate

SIZE, STEP = 64, 24
LARGEST_WITH_PATTERNS = 1024
OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def make_case(edge: int) -> tuple[Reconstruction, Reconstruction, ScanData | None]:
    """Return a noisy object of `edge` x `edge` pixels, a reference, and a scan of patterns that fit neither."""
    noise = np.random.default_rng(0)
    amplitude, phase = (noise.standard_normal((edge, edge), dtype=np.float32) for _ in range(2))
    object_ = ((0.8 + 0.03 * amplitude) * np.exp(0.3j * phase)).astype(np.complex64)
    probe = disk_probe(SIZE, 20.0, 1e5).numpy()
    corners = np.arange(0, edge - SIZE + 1, STEP, dtype=np.float64)
    positions = np.stack(np.meshgrid(corners, corners, indexing="ij"), -1).reshape(-1, 2)
    illumination = np.zeros((edge, edge), np.float32)
    for y, x in positions.astype(int):
        illumination[y : y + SIZE, x : x + SIZE] += np.abs(probe[0]) ** 2
    uncertainty = np.full_like(illumination, 0.01)
    recon = Reconstruction(object_, illumination, probe, positions, pixel_size_m=1e-8, uncertainty=uncertainty)
    reference = Reconstruction(object_ * np.complex64(1.01), illumination, probe, positions, pixel_size_m=1e-8)
    if edge > LARGEST_WITH_PATTERNS:
        return recon, reference, None
    counts = noise.poisson(3.0, (len(positions), SIZE, SIZE)).astype(np.uint16)
    return recon, reference, ScanData(counts, positions, probe, probe_gauge="calibrated")


def measure(edge: int, repeats: int) -> dict[str, Any]:
    """Figures of one report."""
    recon, reference, scan = make_case(edge)
    result = evaluate(recon, scan, reference)
    render_report(recon, result, scan)  # fonts and templates are read once
    started_s = time.process_time()
    text = render_report(recon, result, scan)
    render_s = time.process_time() - started_s
    tracemalloc.start()
    render_report(recon, result, scan)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "edge_px": edge,
        "positions": len(recon.positions_px),
        "made_cpu_s": round(render_s, 2),
        "peak_MB": round(peak_bytes / 1e6),
        "object_MB": round(recon.object.nbytes / 1e6),
        "size_MB": round(len(text.encode()) / 1e6, 2),
        **opening(text, repeats),
    }


def opening(text: str, repeats: int) -> dict[str, list[float]]:
    """Measure milliseconds to the load event in headless Chromium, and CPU time of all its processes until then."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        return {}
    wall, busy = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        page_file = Path(folder) / "report.html"
        page_file.write_text(text, encoding="utf-8")
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        system = browser.new_browser_cdp_session()

        def cpu_s() -> float:
            return sum(process["cpuTime"] for process in system.send("SystemInfo.getProcessInfo")["processInfo"])

        for _ in range(repeats):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.evaluate("1")
            before_s = cpu_s()
            page.goto(page_file.as_uri(), wait_until="load")
            busy.append(round(1e3 * (cpu_s() - before_s)))
            wall.append(round(float(page.evaluate(OPENED))))
            page.close()
        browser.close()
    return {"opened_ms": wall, "opened_cpu_ms": busy}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "report.json")
    options = parser.parse_args()
    rows = [measure(edge, options.repeats) for edge in options.edges]
    options.output.write_text(json.dumps({"reports": rows}, indent=2) + "\n")
    for row in rows:
        opened = ""
        if "opened_ms" in row:
            opened = f", open after {min(row['opened_ms'])} ms, {min(row['opened_cpu_ms'])} ms of CPU time"
        print(
            f"{row['edge_px']} px: made in {row['made_cpu_s']} CPU s with {row['peak_MB']} MB beside an object of "
            f"{row['object_MB']} MB; {row['size_MB']} MB{opened}"
        )


if __name__ == "__main__":
    main()
