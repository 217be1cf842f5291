"""A run folder from a stranger in a browser: its names, messages and reports are texts, and reach nothing."""

import json
import socket
from dataclasses import replace

import pytest

from ptypinn.runs.folder import CONFIG, FINISHED, LOG, METRICS, RECONSTRUCTION, REPORT

MARKUP = "<img src=x onerror=\"window.hacked='%s'\"><script>window.hacked='%s'</script>'\"`${window.hacked=1}`{{7*7}}"
ATTACK = """<!doctype html><title>report</title><p id=text>A report</p><img src=http://127.0.0.1:PORT/image>
<script>
window.results = {};
async function attempt(name, action) {
  try { window.results[name] = String(await action()); } catch (error) { window.results[name] = "refused"; }
}
attempt("cookie", () => document.cookie);
attempt("storage", () => localStorage.length);
attempt("list", async () => (await fetch("/api/runs")).status);
attempt("elsewhere", async () => (await fetch("http://127.0.0.1:PORT/", {mode: "no-cors"})).type);
attempt("socket", () => new Promise((good, bad) => {
  const socket = new WebSocket("ws://127.0.0.1:PORT/"); socket.onopen = good; socket.onerror = bad; }));
attempt("form", () => { const form = document.createElement("form"); form.action = "http://127.0.0.1:PORT/";
  document.body.append(form); form.submit(); return "sent"; });
</script>"""


@pytest.fixture
def elsewhere():
    """A socket that listens, and that nothing may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        yield server


@pytest.fixture
def hostile(tmp_path, recon, view_folder, elsewhere):
    """A viewer of a folder whose every text is markup, with an attack for a report."""

    def text(name):
        return MARKUP.replace("%s", name)

    folder = tmp_path / "runs" / text("folder").replace("/", "")
    folder.mkdir(parents=True)
    records = {
        "scan": {"path": text("path"), "file": text("file"), "sha256": text("hash"), "options": {"a": text("a")}}
    }
    metrics = {**recon.metrics, text("metric"): 1.0}
    replace(recon, metrics=metrics, provenance=records).save(folder / RECONSTRUCTION)
    started = {"stage": text("stage"), "started": text("started"), "finished": text("finished"), "inputs": records}
    (folder / FINISHED).write_text(json.dumps({**started, "command": [text("command")]}))
    (folder / METRICS).write_text(json.dumps({"metrics": metrics, "warnings": [text("warning")]}))
    (folder / CONFIG).write_text(json.dumps({"option": text("option")}))
    lines = ("2026-01-01T00:00:00Z refine: x", "refine 1/2  loss 1 " + text("progress"), text("log"))
    (folder / LOG).write_text("\n".join(lines))
    (folder / "learning_curve.csv").write_text(f"epoch,{text('column')}\n1,{text('cell')}\n")
    (folder / REPORT).write_text(ATTACK.replace("PORT", str(elsewhere.getsockname()[1])))
    live = folder.with_name("live")
    live.mkdir()
    for name in (CONFIG, LOG):
        (live / name).write_bytes((folder / name).read_bytes())
    return view_folder(folder.parent)


@pytest.fixture
def visit(hostile, chromium):
    """Open an address, and return the page with the requests and dialogs that it caused."""
    context = chromium.new_context()
    own = f"http://127.0.0.1:{hostile.port}/"

    def open_address(address):
        page, events = context.new_page(), []
        page.on("dialog", lambda dialog: (events.append("a dialog"), dialog.dismiss()))
        page.on(
            "request", lambda request: request.url.startswith((own, "blob:", "data:")) or events.append(request.url)
        )
        page.goto(address)
        return page, events

    yield open_address
    context.close()


def test_texts_of_a_stranger_stay_texts_on_every_page(hostile, visit):
    names = {name: number for name, number in hostile.ids.items() if name != "live"}
    (name, number), live = next(iter(names.items())), hostile.ids["live"]
    for path in ("/", f"/run/{number}", f"/run/{live}"):
        page, events = visit(hostile.address(path))
        page.wait_for_selector("li.card" if path == "/" else "h1")
        page.wait_for_timeout(500)
        assert events == []
        assert page.evaluate("window.hacked === undefined")
        assert page.evaluate("document.querySelectorAll('[onerror], img[src=x]').length") == 0
        assert "onerror" in page.inner_text("body")
        assert "49" not in page.title()
    assert name in visit(hostile.address(f"/run/{number}"))[0].inner_text("body")


def test_the_report_of_a_stranger_reaches_nothing(hostile, visit, elsewhere):
    number = next(number for name, number in hostile.ids.items() if name != "live")
    page = visit(hostile.address(f"/run/{number}"))[0]
    link = page.get_attribute("a[href*=report]", "href")
    page, events = visit(hostile.address(link))
    page.wait_for_timeout(1500)
    assert page.inner_text("#text") == "A report"
    results = page.evaluate("window.results")
    assert {results[name] for name in ("cookie", "storage", "list", "elsewhere", "socket")} == {"refused"}
    assert events.count("a dialog") == 0
    with pytest.raises(TimeoutError):
        elsewhere.accept()
