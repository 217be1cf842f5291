"""The package is quick to import and offers its public names."""

import subprocess
import sys

import pytest

import ptypinn

HEAVY = ("torch", "numpy", "h5py", "matplotlib", "lightning", "jsonargparse", "scipy")


def loaded_after(statement: str) -> set[str]:
    report = f"{statement}\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_after("import ptypinn").intersection(HEAVY)


def test_help_loads_neither_torch_nor_arrays():
    help_page = "from ptypinn.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_after(help_page).intersection(HEAVY) - {"jsonargparse"}


@pytest.mark.parametrize("name", [name for name in ptypinn.__all__ if name != "__version__"])
def test_public_names_exist_and_are_callable(name):
    assert callable(getattr(ptypinn, name))


def test_a_stage_and_its_module_have_names_of_their_own():
    import ptypinn.stages.refine

    assert ptypinn.refine is ptypinn.stages.refine.refine


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'reassemble'"):
        ptypinn.reassemble
