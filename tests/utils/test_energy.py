"""Counters of energy: what is read, where nothing can be read, and counters that begin again."""

import pytest
import torch

from ptypinn.utils.energy import Counter, measure_spent, read_energy

CPU = torch.device("cpu")


def write_counter(folder, number, name, energy_uj, range_uj=1000_000_000):
    place = folder / f"intel-rapl:{number}"
    place.mkdir(exist_ok=True)
    (place / "name").write_text(f"{name}\n")
    (place / "energy_uj").write_text(f"{energy_uj}\n")
    (place / "max_energy_range_uj").write_text(f"{range_uj}\n")


def test_packages_of_the_processor_are_added_and_their_parts_are_not(tmp_path):
    for number, name, energy in (("0", "package-0", 5), ("1", "package-1", 7), ("0:0", "core", 3)):
        write_counter(tmp_path, number, name, energy * 1_000_000)
    before = read_energy(CPU, tmp_path)
    assert {name: counter.energy_J for name, counter in before.items()} == {"intel-rapl:0": 5, "intel-rapl:1": 7}
    write_counter(tmp_path, "0", "package-0", 6_500_000)
    write_counter(tmp_path, "1", "package-1", 1_000_000)  # it began again at 1,000 J
    assert measure_spent(before, read_energy(CPU, tmp_path)) == pytest.approx(1.5 + 994)


@pytest.mark.parametrize("text", ["", "many"])
def test_a_counter_that_cannot_be_read_is_left_out(tmp_path, text):
    write_counter(tmp_path, "0", "package-0", 5)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text(text)
    assert read_energy(CPU, tmp_path) == {}
    assert read_energy(CPU, tmp_path / "absent") == {}
    assert measure_spent({}, {"gpu": Counter(3.0)}) is None
