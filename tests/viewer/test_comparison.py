"""Two runs are compared in the coordinates of their scans, without phase factor and ramp, or refused with a reason."""

from dataclasses import replace

import numpy as np
import pytest
from tests.viewer.conftest import HEIGHT, WIDTH

from ptypinn.errors import InputError
from ptypinn.viewer import comparison as module
from ptypinn.viewer.comparison import compare_pictures
from ptypinn.viewer.picture import ALL, open_layers
from ptypinn.viewer.picture_file import ILLUMINATION, OBJECT, QUOTIENT, open_picture

PHASE, RAMP = 0.7, (0.013, -0.021)
TOP, LEFT = 40, 24


@pytest.fixture
def opened(tmp_path):
    def save(recon, name):
        return open_layers(open_picture(recon.save(tmp_path / f"{name}.h5")))

    return save


def tilt_phase(recon, amplitude=1.0):
    """The same object with another phase, tilted, cut to a part, on a canvas of its own."""
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    tilt = np.exp(-1j * (PHASE + RAMP[0] * y + RAMP[1] * x))
    object_ = (amplitude * recon.object * tilt).astype(np.complex64)[TOP:, LEFT:]
    return replace(recon, object=object_, illumination=recon.illumination[TOP:, LEFT:], origin_px=(TOP, LEFT))


@pytest.mark.parametrize("max_blocks", [512, 100])
def test_phase_factor_and_ramp_are_taken_out(recon, opened, monkeypatch, max_blocks):
    monkeypatch.setattr(module, "MAX_BLOCKS", max_blocks)
    result = compare_pictures(opened(recon, "a"), opened(tilt_phase(recon), "b"))
    np.testing.assert_allclose(result.alignment.ramp_rad_per_px, RAMP, atol=1e-5)
    mask = result.difference.illumination_mask(0, ALL, ALL)
    assert result.difference.file.shape == (HEIGHT - TOP, WIDTH - LEFT)
    assert result.difference.file.origin_px == result.aligned.file.origin_px == (TOP, LEFT)
    assert np.abs(result.difference.file.read(OBJECT, ALL, ALL))[mask].max() < 5e-3
    assert np.abs(np.angle(result.difference.file.read(QUOTIENT, ALL, ALL)))[mask].max() < 5e-3
    part = slice(3, 90, 7), slice(5, 60)
    np.testing.assert_allclose(
        result.aligned.file.read(OBJECT, *part), recon.object[TOP:, LEFT:][part], atol=5e-3 * np.abs(recon.object).max()
    )
    np.testing.assert_array_equal(result.aligned.file.read(ILLUMINATION, *part), recon.illumination[TOP:, LEFT:][part])


def test_amplitudes_are_left_as_they_are(recon, opened):
    result = compare_pictures(opened(tilt_phase(recon, 0.5), "a"), opened(recon, "b"))
    mask = result.difference.illumination_mask(0, ALL, ALL)
    modulus = result.difference.values("difference", 0, ALL, ALL)[mask]
    np.testing.assert_allclose(modulus, 0.5 * np.abs(recon.object[TOP:, LEFT:])[mask], atol=5e-3)
    assert np.abs(result.difference.values("phase_difference", 0, ALL, ALL)[mask]).max() < 5e-3


def test_a_difference_of_one_spot_has_its_place(recon, opened):
    other = recon.object.copy()
    other[100:120, 200:230] *= np.exp(0.3j)
    result = compare_pictures(opened(recon, "a"), opened(replace(recon, object=other), "b")).difference
    phase = result.values("phase_difference", 0, ALL, ALL)
    assert phase[100:120, 200:230].mean() == pytest.approx(0.3, abs=0.01)
    assert abs(phase[150:250, 100:180].mean()) < 0.01
    display = result.require("phase_difference").display
    assert display.low == -display.high < 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_size_m": 2.02e-8}, "20 nm and 20.2 nm"),
        ({"origin_px": (5000, 0)}, "no pixel that both"),
        ({"illumination": np.zeros((HEIGHT, WIDTH), np.float32)}, "0 pixels that are well illuminated"),
    ],
)
def test_what_cannot_be_subtracted_is_refused_in_words(recon, opened, changes, message):
    with pytest.raises(InputError, match=message) as error_info:
        compare_pictures(opened(recon, "a"), opened(replace(recon, **changes), "b"))
    assert "\n" not in str(error_info.value)


def test_pixels_of_unknown_size_lie_on_pixels(recon, opened):
    result = compare_pictures(opened(recon, "a"), opened(replace(recon, pixel_size_m=None), "b"))
    assert result.difference.file.shape == (HEIGHT, WIDTH)
