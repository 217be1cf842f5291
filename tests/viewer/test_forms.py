"""Forms come from the configurations; their values mean what they mean on the command line, inside the folder only."""

import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.cli.main import parse
from ptypinn.cli.view import STARTED, job_command
from ptypinn.config.fields import describe_kind, list_fields, parse_value
from ptypinn.config.load import LoadConfig
from ptypinn.config.reconstruct import ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.errors import InputError
from ptypinn.viewer.forms import REFUSED, build_arguments, show_line
from ptypinn.viewer.inside import locate_output

COMMANDS = {name: job_command(name) for name in STARTED}
FIELDS = {field.name: field for field in list_fields([ReconstructConfig, RefineConfig, LoadConfig])}


@pytest.fixture
def folder(tmp_path):
    """A folder with files that options may name, and links that lead out of it."""
    root = tmp_path / "lab"
    (root / "inner").mkdir(parents=True)
    np.save(root / "inner" / "mask.npy", np.ones((4, 4)))
    np.save(tmp_path / "secret.npy", np.ones((4, 4)))
    (root / "link.npy").symlink_to(tmp_path / "secret.npy")
    (root / "out").symlink_to(tmp_path)
    return root


def test_every_option_of_the_configurations_is_in_the_form_once_but_those_that_lead_out():
    for name, kind in (("reconstruct", ReconstructConfig), ("refine", RefineConfig)):
        form = COMMANDS[name].describe()
        names = [option["name"] for option in form["common"]]
        names += [option["name"] for group in form["groups"] for option in group["options"]]
        expected = {field.name for config in (kind, LoadConfig) for field in fields(config)} - REFUSED
        assert expected <= set(names) and len(names) == len(set(names))
        assert not REFUSED & set(names)
        assert 3 <= len(form["common"]) <= 6
        assert all(option["text"].endswith(".") for option in form["common"])


VALUES = {
    "rounds": st.integers(1, 99).map(str),
    "photons": st.floats(1e-3, 1e12).map(str),
    "centre_px": st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda pair: f"{pair[0]}, {pair[1]}"),
    "defocus_m": st.floats(-1e-2, 1e-2).map(str),
    "slices": st.sampled_from(["1", "3", "auto"]),
    "flip_patterns": st.sampled_from(["none", "y", "x", "yx"]),
    "select": st.sampled_from(["0-5", "~7", "3-"]),
    "refine_positions": st.booleans(),
    "survey": st.booleans(),
    "threads": st.sampled_from(["1", "2", "null", ""]),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_a_form_and_its_command_line_mean_the_same(values):
    command, root = COMMANDS["reconstruct"], Path("/nowhere")
    if "defocus_m" in values:
        values["probe_model"] = "zone-plate"
    values = {name: value for name, value in values.items() if name != "refine_positions"}
    settings = command.parse(values, root)
    line = show_line(command, settings, "scan.h5", Path("run"), [])
    _, session = parse(shlex.split(line)[1:])
    for setting in settings:
        assert session.options[setting.option.name] == setting.value
    stated = {setting.option.name for setting in settings}
    assert set(session.set_options) == {*stated, "scan", "output_dir"}
    assert build_arguments(command, settings, "/nowhere/scan.h5", root / "run")[3:] == shlex.split(line)[4:]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rounds": "x"}, "--rounds: found 'x', expected a whole number"),
        ({"rounds": "0"}, "--rounds: found 0, expected at least 1"),
        ({"rounds": "1" * 5000}, "--rounds"),
        ({"rounds": "[" * 900}, "--rounds"),
        ({"rounds": "1\0"}, "--rounds"),
        ({"slices": "many"}, "--slices: found 'many', expected a whole number, or auto"),
        ({"domain": "volts"}, "--domain: found 'volts', expected one of auto, counts, amplitude"),
        ({"centre_px": "1"}, "--centre-px: found '1', expected 2 whole numbers"),
        ({"photons": "-3"}, "--photons: found -3.0, expected a positive number"),
        ({"probe_rounds": "3", "refine_probe": False}, "--probe-rounds: found 3, expected --refine-probe as well"),
        ({"refine_probe": "yes"}, "--refine-probe: found 'yes', expected true or false"),
        ({"rounds": True}, "--rounds: found True, expected a text"),
        ({"config": "x.yaml"}, "--config: found an unknown name"),
        ({"scheduler": "tcp://elsewhere:1"}, "--scheduler: found an unknown name"),
        ({"allow_external": True}, "--allow-external: found an unknown name"),
        ({"output_dir": "/tmp/x"}, "--output-dir: found an unknown name"),
        ({"__class__": "x"}, "found an unknown name"),
    ],
)
def test_bad_values_are_refused_in_one_line_that_names_the_option(values, message, folder):
    with pytest.raises(InputError) as refusal:
        COMMANDS["reconstruct"].parse(values, folder)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


OUTSIDE = [
    "../secret.npy",
    "/etc/passwd",
    "link.npy",
    "out/secret.npy",
    "inner/../../secret.npy",
    "missing.npy",
    "inner",
]


@pytest.mark.parametrize("option", ["probe", "dark", "patterns_file", "positions_file", "mtf", "initial", "model"])
@pytest.mark.parametrize("place", [*OUTSIDE, "inner", "../secret.npy:a", "link.npy:data", "/dev/zero", "~/x.npy"])
def test_files_of_options_are_inside_the_folder(option, place, folder, monkeypatch):
    if option in ("initial", "model") and place == "inner":
        return  # a run folder
    monkeypatch.chdir(folder)
    command = COMMANDS["refine" if option == "initial" else "reconstruct"]
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')}: found .* a file in the folder of this viewer"):
        command.parse({option: place}, folder)


def test_a_file_inside_is_given_by_its_full_path_and_shown_by_its_short_one(folder):
    command = COMMANDS["reconstruct"]
    (setting,) = command.parse({"dark": "inner/mask.npy:data"}, folder)
    assert setting.word(setting.argument) == f"--dark={folder}/inner/mask.npy:data"
    assert setting.word(setting.text) == "--dark=inner/mask.npy:data"


@pytest.mark.parametrize(
    ("option", "text", "allowed"),
    [
        ("mtf", "0.6", True),
        ("monitor", "none", True),
        ("monitor", "entry/ion_chamber", True),
        ("monitor", "/etc/passwd", False),
        ("monitor", "/no/such/file", False),
        ("monitor", "../no_such_file", False),
        ("monitor", "out/../../no_such_file:0", False),
        ("monitor", "link.npy", False),
        ("monitor", "../secret.npy", False),
        ("monitor", "out/secret.npy:0", False),
    ],
)
def test_values_that_are_no_files_stay_as_they_are(option, text, allowed, folder, monkeypatch):
    monkeypatch.chdir(folder)
    if allowed:
        assert COMMANDS["refine"].parse({option: text}, folder)[0].argument == text
    else:
        with pytest.raises(InputError, match=f"--{option}"):
            COMMANDS["refine"].parse({option: text}, folder)


@pytest.mark.parametrize("text", ["run", "deep/er/run", "./run", "a b", "ä"])
def test_run_folders_are_below_the_folder(text, folder):
    assert locate_output(text, folder).is_relative_to(folder)


BAD_OUTPUTS = [
    "",
    ".",
    "/tmp/x",
    "../x",
    "a/../../x",
    "a/..",
    ".ptypinn/x",
    "out/x",
    "link.npy",
    "out",
    "inner/mask.npy",
]


@pytest.mark.parametrize("text", [*BAD_OUTPUTS, "inner/mask.npy", "-x", "a/.git", "a\nb", "a\0b", "x" * 300, " x"])
def test_other_run_folders_are_refused(text, folder):
    with pytest.raises(InputError, match="--output-dir"):
        locate_output(text, folder)


@given(st.text(max_size=30))
def test_no_text_is_a_run_folder_elsewhere(text):
    root = Path("/nowhere/lab")
    try:
        place = locate_output(text, root)
    except InputError:
        return
    assert place.is_relative_to(root) and place != root and ".." not in place.parts


@given(st.sampled_from(sorted(FIELDS)), st.text(max_size=20))
def test_every_text_is_a_value_or_refused_by_name(name, text):
    refusals = []
    try:
        parse_value(FIELDS[name], text)
    except InputError as error:
        refusals.append((error.source, error.expected))
    assert refusals in ([], [(f"--{name.replace('_', '-')}", describe_kind(FIELDS[name].kind))])
