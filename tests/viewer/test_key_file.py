"""The key of a viewer in a file: written once for its owner alone, kept over restarts, refused where others see it."""

import os
import stat
import sys
import time
import webbrowser

import pytest

from ptypinn.cli.main import main
from ptypinn.errors import InputError
from ptypinn.viewer import key_file
from ptypinn.viewer.key_file import page_in_browser, read_key


def test_a_key_is_written_once_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        key = read_key(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert read_key(tmp_path / "key") == key and len(key) >= 16
    assert read_key(tmp_path / "other") != key


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o644, 0o620])
def test_a_file_that_others_reach_is_refused(mode, tmp_path):
    read_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(InputError, match=f"--key-file: found .*mode {mode:o}, expected .*chmod 600"):
        read_key(tmp_path / "key")


@pytest.mark.parametrize("content", ["", "short", "a" * 300, "with a space in between", "key=" + "a" * 20, "ä" * 20])
def test_what_is_no_key_is_refused_and_stays(content, tmp_path):
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match=r"--key-file: .*something else"):
        read_key(path)
    assert path.read_text() == content


def test_links_folders_and_pipes_are_refused(tmp_path):
    read_key(tmp_path / "key")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "loose", "pipe", ".", "none/key"):
        with pytest.raises(InputError, match="--key-file"):
            read_key(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()


def test_the_address_stays_after_a_restart(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ptypinn.viewer.server.serve", lambda *_: None)

    def address(*options):
        assert main(["view", str(tmp_path), "--port", "0", *map(str, options)]) == 0
        return capsys.readouterr().out.splitlines()[0].rpartition("key=")[2]

    option = ("--key-file", tmp_path / "key")
    assert address(*option) == address(*option) == (tmp_path / "key").read_text().strip()
    assert address() != address()
    (tmp_path / "key").chmod(0o644)
    assert main(["view", str(tmp_path), "--port", "0", *map(str, option)]) == 1
    assert "chmod 600" in capsys.readouterr().err


BROWSER = """#!{python}
import os, pathlib, stat, sys, urllib.parse, urllib.request
place = pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(sys.argv[1]).path))
mode = stat.S_IMODE(place.stat().st_mode)
pathlib.Path({report!r}).write_text("\\n".join([" ".join(sys.argv[1:]), oct(mode), place.read_text()]))
"""


def test_the_browser_is_opened_without_the_key_among_its_arguments(tmp_path, monkeypatch):
    browser, report = tmp_path / "browser", tmp_path / "report"
    browser.write_text(BROWSER.format(python=sys.executable, report=str(report)))
    browser.chmod(0o755)
    monkeypatch.setattr(webbrowser, "_tryorder", None)
    monkeypatch.setattr(webbrowser, "_browsers", {})
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    before = os.umask(0)
    try:
        with page_in_browser("http://127.0.0.1:8642/run/abc?key=sesame&x=1") as place:
            deadline = time.monotonic() + 20
            while not (report.exists() and report.read_text()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert place.exists()
    finally:
        os.umask(before)
    arguments, mode, page = report.read_text().split("\n", 2)
    assert arguments == place.as_uri() and "sesame" not in arguments
    assert mode == "0o600"
    assert 'url=http://127.0.0.1:8642/run/abc?key=sesame&amp;x=1"' in page
    assert not place.exists()


def test_the_page_that_leads_to_the_viewer_lives_for_a_short_time(monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: True)
    monkeypatch.setattr(key_file, "REDIRECT_S", 0.05)
    with page_in_browser("http://x/") as place:
        deadline = time.monotonic() + 20
        while place.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_command_opens_no_address_with_the_key(home, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("ptypinn.viewer.server.serve", lambda app, room, listener: room.close())
    assert main(["view", str(home), "--port", "0", "--open-browser", "--json"]) == 0
    key = capsys.readouterr().out.split("key=")[1].split('"')[0]
    assert len(opened) == 1 and opened[0].startswith("file://") and key not in opened[0]
