"""Where tensors live, and how many threads work on them."""

import pytest
import torch

from ptypinn.config.refine import RefineConfig
from ptypinn.config.simulate import SimulateConfig
from ptypinn.errors import InputError
from ptypinn.stages.refine import refine
from ptypinn.stages.simulate import simulate
from ptypinn.utils.device import cpu_threads, has_bfloat16_units, pick_device


def test_devices_are_chosen_by_name():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["abacus", "meta", "mps", "cuda:99", ""])
def test_other_devices_are_refused(name):
    with pytest.raises(InputError, match="--device"):
        pick_device(name)


def test_threads_are_set_for_a_while():
    before = torch.get_num_threads()
    for count in (1, 2):
        with cpu_threads(count):
            assert torch.get_num_threads() == count
            with cpu_threads(None):
                assert torch.get_num_threads() == count
    with pytest.raises(KeyError), cpu_threads(2):
        raise KeyError
    assert torch.get_num_threads() == before


def test_refine_takes_its_threads_and_gives_them_back():
    counts = []
    scan = simulate(SimulateConfig(size=32, object_size=(64, 64), n_patterns=9, photons=1e4))
    before = torch.get_num_threads()
    config = RefineConfig(iterations=1, threads=2, device="cpu")
    refine(scan, config, progress=lambda *_, **__: counts.append(torch.get_num_threads()))
    assert set(counts) == {2}
    assert torch.get_num_threads() == before
    with pytest.raises(InputError, match="--threads"):
        refine(scan, RefineConfig(threads=0))


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"amx_bf16": True}, True), ({"amx_bf16": False}, False), ({}, False), (None, False)],
)
def test_units_for_bfloat16_are_those_that_the_processor_states(monkeypatch, capabilities, expected):
    if capabilities is None:  # an earlier version of torch
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bfloat16_units(torch.device("cpu")) is expected
    assert not has_bfloat16_units(torch.device("meta"))
