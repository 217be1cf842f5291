"""Reconstruction files: exact round trip, the NeXus default plot, errors."""

import dataclasses

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptypinn.data.reconstruction import Reconstruction
from ptypinn.errors import InputError


def make_recon(shape=(12, 15), modes=2, pixel=2e-8, origin=(-3, 4), seed=0):
    rng = np.random.default_rng(seed)

    def waves(shape):
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)

    return Reconstruction(
        object=waves(shape),
        illumination=rng.random(shape).astype(np.float32),
        probe=waves((modes, 8, 8)),
        positions_px=rng.random((6, 2)),
        origin_px=origin,
        pixel_size_m=pixel,
        flux=rng.uniform(0.5, 1.5, 6),
        beam_px=rng.normal(size=(6, 2)),
        point_spread_px=0.7,
        probe_variation=waves((2, modes, 8, 8)),
        probe_weights=rng.normal(size=(6, 2)),
        scale=[{"stage": "counts", "expected": 1.0, "measured": 1 / 3, "source": "data"}],
        metrics={"flux_closure": 0.1 + 0.2},
        history={"loss": [3.0, 1 / 7]},
        provenance={"config": {"seed": 3, "name": "é"}},
    )


@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(1, 3),
    st.sampled_from([None, 1.0, 3.3e-9]),
    st.tuples(st.integers(-50, 50), st.integers(-50, 50)),
)
def test_round_trip_is_exact(tmp_path_factory, shape, modes, pixel, origin):
    recon = make_recon(shape, modes, pixel, origin)
    back = Reconstruction.load(recon.save(tmp_path_factory.mktemp("recon") / "r.h5"))
    terms = "flux", "beam_px", "probe_variation", "probe_weights"
    for name in ("object", "illumination", "probe", "positions_px", *terms):
        a, b = getattr(recon, name), getattr(back, name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
    for name in ("origin_px", "pixel_size_m", "scale", "metrics", "history", "provenance"):
        assert getattr(back, name) == getattr(recon, name), name


def test_the_uncertainty_comes_back_and_is_an_image_of_its_own(tmp_path):
    recon = make_recon()
    sigma = np.linspace(0, 1, recon.object.size, dtype=np.float32).reshape(recon.object.shape)
    reference = dataclasses.replace(recon, uncertainty=sigma)
    back = Reconstruction.load(reference.save(tmp_path / "r.h5"))
    assert back.uncertainty.dtype == np.float32
    assert back.uncertainty.tobytes() == sigma.tobytes()
    with h5py.File(tmp_path / "r.h5") as file:
        plot = file["entry/object_uncertainty"]
        assert plot.attrs["NX_class"] == "NXdata"
        assert plot["data"].attrs["units"] == ""
        np.testing.assert_array_equal(plot["data"], sigma)
        assert len(plot["x"]) == sigma.shape[1]
    assert Reconstruction.load(recon.save(tmp_path / "plain.h5")).uncertainty is None


@pytest.mark.parametrize(("pixel", "unit", "step"), [(None, "pixel", 1.0), (2e-8, "m", 2e-8)])
def test_default_chain_leads_to_an_image_with_axes(tmp_path, pixel, unit, step):
    recon = make_recon(pixel=pixel)
    with h5py.File(recon.save(tmp_path / "r.h5")) as file:
        node, classes = file, [file.attrs["NX_class"]]
        while "default" in node.attrs:
            node = node[node.attrs["default"]]
            classes.append(node.attrs["NX_class"])
        assert classes == ["NXroot", "NXentry", "NXdata"]
        signal = node[node.attrs["signal"]]
        np.testing.assert_allclose(signal, np.angle(recon.object))
        assert signal.attrs["units"] == "rad"
        for i, axis in enumerate(node.attrs["axes"]):
            assert node[axis].attrs["units"] == unit
            np.testing.assert_allclose(node[axis][:2], [recon.origin_px[i] * step, (recon.origin_px[i] + 1) * step])
            assert len(node[axis]) == signal.shape[i]


def test_bad_files_have_one_line(tmp_path, make_scan):
    from ptypinn.io.load_save import save

    good = make_recon().save(tmp_path / "good.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(good[: len(good) // 2])
    (tmp_path / "text.h5").write_text("not a reconstruction")
    save(make_scan(), tmp_path / "scan.h5")
    for name in ("missing.h5", "cut.h5", "text.h5", "scan.h5"):
        with pytest.raises(InputError) as caught:
            Reconstruction.load(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_nothing(tmp_path):
    broken = dataclasses.replace(make_recon(), provenance={"loop": (loop := [])})
    loop.append(loop)
    with pytest.raises(ValueError, match="Circular"):
        broken.save(tmp_path / "r.h5")
    assert list(tmp_path.iterdir()) == []
