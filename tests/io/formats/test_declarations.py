"""What formats declare holds: names, suffixes, tables, and the page of the documentation."""

import contextlib
from pathlib import Path
from typing import get_args

import pytest

from ptypinn.config.load import LoadConfig
from ptypinn.errors import InputError
from ptypinn.io.format import WORDS, Field
from ptypinn.io.load_save import FORMATS, detect_format, load, save
from ptypinn.report.text.format_tables import update_page

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def test_the_page_has_the_tables_that_the_formats_declare():
    page = PAGE.read_text(encoding="utf-8")
    assert update_page(page) == page, "run: python -m ptypinn.report.text.format_tables docs/formats.md"
    assert all(f"### {candidate.title}" in page for candidate in FORMATS.values())


@pytest.mark.parametrize("name", ["cxy", "tiff"])
def test_a_format_that_cannot_be_read_is_refused_with_the_names_of_those_that_can(name, make_scan, tmp_path):
    path = save(make_scan(), tmp_path / "scan.h5")
    with pytest.raises(InputError, match=f"--format: found '?{name}'?, expected one of .*cxi.*ptyd"):
        load(path, LoadConfig(format=name))


@pytest.mark.parametrize("name", FORMATS)
def test_a_declaration_is_complete(name):
    declared = FORMATS[name]
    assert declared.title
    assert declared.suffixes
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in declared.suffixes)
    assert len({(entry.path, entry.field) for entry in declared.entries}) == len(declared.entries)
    assert any((declared.read, declared.write, declared.read_reconstruction, declared.write_reconstruction))
    scans = declared.read or declared.write
    wanted = {"counts", "positions_px"} if scans else {"object"}
    assert wanted <= declared.fields
    assert {lack.option for lack in declared.missing} <= set(LoadConfig.__dataclass_fields__)
    assert set(declared.required) <= set(WORDS)


def test_every_field_has_words():
    assert set(WORDS) == set(get_args(Field))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 not a zip", b"\x89HDF\r\n\x1a\n not HDF5"])
def test_no_format_claims_rubbish(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    for candidate in FORMATS.values():
        with contextlib.suppress(InputError):
            assert not candidate.recognises(path)
    with pytest.raises(InputError, match="file: found"):
        detect_format(path)
