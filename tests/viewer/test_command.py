"""`ptypinn view` as people call it: one line with an address, one line where something is wrong, an end by Ctrl-C."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from ptypinn.cli.main import main
from ptypinn.config.shared import option_name
from ptypinn.config.view import ViewConfig
from ptypinn.errors import InputError


def said(capsys, *arguments):
    code = main(["view", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert err.count("\n") <= 1
    return code, out, err


def test_a_viewer_serves_until_interrupted(home):
    command = [sys.executable, "-m", "ptypinn", "view", str(home), "--port", "0", "--json"]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    reports = json.loads(running.stdout.readline())
    assert reports["runs"] == 5
    assert reports["url"].startswith("http://127.0.0.1:")
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(reports["url"], timeout=30) as page:
        assert b"<title>Scans and runs - ptypinn" in page.read()
        assert "key" not in page.url
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(reports["url"].split("?")[0], timeout=30)
    assert refused.value.code == 403
    refused.value.close()
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0
    assert err == ""


LIGHT_START = """
import sys
import ptypinn.viewer.server
from ptypinn.cli.main import main
ptypinn.viewer.server.serve = lambda app, room, listener: room.close()
assert main(["view", sys.argv[1], "--port", "0"]) == 0
print(*(name for name in ("torch", "lightning", "matplotlib.pyplot") if name in sys.modules))
"""


def test_a_viewer_starts_without_what_takes_seconds_to_import(home):
    start = subprocess.run(
        [sys.executable, "-c", LIGHT_START, str(home)], stdout=subprocess.PIPE, text=True, check=True
    )
    assert start.stdout.splitlines()[-1] == ""


def test_one_run_is_opened_at_once(home, capsys, monkeypatch):
    monkeypatch.setattr("ptypinn.viewer.server.serve", lambda *_: None)
    code, out, _ = said(capsys, home / "good", "--port", 0)
    assert code == 0
    assert out.startswith("1 run at http://127.0.0.1:")
    assert "/run/" in out.splitlines()[0]
    code, out, _ = said(capsys, home, "--port", 0, "--host", "0.0.0.0")
    assert code == 0
    assert "warning" in out
    assert "0.0.0.0" not in out.splitlines()[0]


def test_what_is_missing_is_named(capsys, monkeypatch, home):
    result = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else result(name))
    code, out, err = said(capsys, home)
    assert (code, out) == (1, "")
    assert "uvicorn" in err and "pip install 'ptypinn[view]'" in err


def test_a_port_that_is_taken_is_named(capsys, home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = said(capsys, home, "--port", port)
    assert code == 1
    assert "--port" in err and str(port) in err


def test_an_address_of_another_machine_is_named(capsys, home):
    code, _, err = said(capsys, home, "--port", 0, "--host", "192.0.2.1")  # RFC 5737: nobody's
    assert code == 1
    assert "--host: found 192.0.2.1" in err and "--port" not in err


def test_a_folder_that_is_missing_is_named(capsys, tmp_path):
    code, _, err = said(capsys, tmp_path / "nowhere")
    assert code == 1
    assert "nowhere" in err


def test_an_empty_folder_is_a_place_to_start_from(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("ptypinn.viewer.server.serve", lambda *_: None)
    code, out, _ = said(capsys, tmp_path, "--port", 0)
    assert code == 0
    assert out.startswith("0 runs at http://127.0.0.1:")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad", [{"port": -1}, {"port": 70000}, {"host": ""}, {"host": "a/b"}, {"cache_gib": 0.0}, {"jobs": 0}]
)
def test_impossible_options_are_refused(bad):
    with pytest.raises(InputError, match=option_name(next(iter(bad)))):
        ViewConfig(**bad)
