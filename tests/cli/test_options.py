"""The parser: typed commands, options that are refused, help without heavy imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from ptypinn.cli.main import COMMANDS, command_name, parse
from ptypinn.config.load import LoadConfig
from ptypinn.config.reconstruct import PatchNetworkConfig, ReconstructConfig
from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.errors import InputError

RECONSTRUCT = ("reconstruct", "scan.h5", "--output-dir", "out")


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_found_by_their_words(name):
    assert command_name([*name.split(), "--quiet"]) == name


def test_options_become_typed_configurations():
    _, session = parse(
        ["refine", "s.h5", "--output-dir", "o", "--iterations=7", "--no-refine-probe", "--crop-px", "32"]
    )
    assert session.config(RefineConfig) == RefineConfig(iterations=7, refine_probe=False)
    assert session.config(LoadConfig) == LoadConfig(crop_px=32)
    _, session = parse(["simulate", "--output", "s.h5", "--object-size", "80,96", "--mode-fractions=0.7,0.3"])
    config = session.config(SimulateConfig)
    assert (config.object_size, config.mode_fractions) == ((80, 96), (0.7, 0.3))


def test_a_switch_of_a_file_is_switched_off_on_the_command_line(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("resume: true\ntrain_probe: true\n")
    command = ["train", "s.h5", "--output-dir", "o", "--config", str(path)]
    assert parse(command)[1].options["resume"] is True
    _, session = parse([*command, "--no-resume", "--no-train-probe"])
    assert (session.options["resume"], session.options["train_probe"]) == (False, False)


@pytest.mark.parametrize("spelling", ["--memory_gib", "--memory-gib"])
def test_fields_may_be_copied_with_their_underscores(spelling):
    assert parse([*RECONSTRUCT, spelling, "2"])[1].options["memory_gib"] == 2.0


def refuse(session, other, chosen):
    session.refuse_of(other, "this solver", but=chosen.__dataclass_fields__)


OTHERS = [
    (("--polish", "20"), PatchNetworkConfig, ReconstructConfig),
    (("--rounds", "9"), PatchNetworkConfig, ReconstructConfig),
    (("--probe-modes", "3"), PatchNetworkConfig, ReconstructConfig),
    (("--workers", "0"), PatchNetworkConfig, ReconstructConfig),
    (("--refine-positions",), PatchNetworkConfig, ReconstructConfig),
    (("--no-refine-probe",), PatchNetworkConfig, ReconstructConfig),
    (("--subset", "train"), ReconstructConfig, PatchNetworkConfig),
    (("--neighbour-count", "7"), ReconstructConfig, PatchNetworkConfig),
]


@pytest.mark.parametrize(
    ("words", "chosen", "other"), OTHERS, ids=lambda case: case[0] if isinstance(case, tuple) else ""
)
def test_options_of_the_other_solver_are_refused_by_name_even_with_their_defaults(words, chosen, other):
    _, session = parse([*RECONSTRUCT, *words])
    with pytest.raises(InputError) as refusal:
        refuse(session, other, chosen)
    assert refusal.value.source == words[0].replace("--no-", "--")
    refuse(session, chosen, other)  # the solver that reads it takes it


@pytest.mark.parametrize("option", [{"polish": 20}, {"rounds": 9}, {"refine_probe": False}, {"workers": 2}])
def test_options_of_the_other_solver_are_refused_in_a_file_too(option, tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text(yaml.safe_dump({"batch_size": 64, "device": "cpu", **option}))
    _, session = parse([*RECONSTRUCT, "--config", str(path)])
    with pytest.raises(InputError, match="--" + next(iter(option)).replace("_", "-")):
        refuse(session, ReconstructConfig, PatchNetworkConfig)
    path.write_text(yaml.safe_dump({"batch_size": 64, "device": "cpu"}))
    refuse(parse([*RECONSTRUCT, "--config", str(path)])[1], ReconstructConfig, PatchNetworkConfig)


def test_a_flag_that_the_other_options_leave_unread_is_refused_even_with_its_default():
    _, session = parse(["simulate", "--output", "s.h5", "--probe", "disk", "--pupil-radius", "0.35"])
    with pytest.raises(InputError, match=r"--pupil-radius: found 0\.35, expected --probe zone_plate as well"):
        session.config(SimulateConfig)


def test_help_and_parsing_import_no_heavy_library():
    code = (
        "import sys\nfrom ptypinn.cli.main import main, parse\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = lambda: {'torch', 'numpy', 'h5py', 'scipy', 'matplotlib', 'jsonargparse'} & sys.modules.keys()\n"
        "assert not heavy(), heavy()\n"
        "parse(['info', 'scan.h5', '--json'])\n"
        "assert heavy() <= {'jsonargparse'}, heavy()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "text", ["faults: [drift:3, 'ramp:1:-2']", "faults: {drift: 3, ramp: [1, -2]}", "words: drift:3 ramp:1:-2"]
)
def test_an_option_of_several_words_is_a_list_or_a_mapping(text, tmp_path):
    path = tmp_path / "simulate.yaml"
    path.write_text(text if text.startswith("faults") else "n_patterns: 9")
    words = ["--faults", *text.split()[1:]] if text.startswith("words") else []
    _, session = parse(["simulate", "--config", str(path), *words, "--output", "s.h5"])
    config = session.config(SimulateConfig)
    assert config.fault_sizes.listed() == {"drift": 3.0, "ramp": (1.0, -2.0)}
    assert session.options["output"] == "s.h5"
