"""One small scene in the files of many programs, written by hand from the definitions of their formats.

The scene is simulated in plain NumPy: a corner is the object pixel under the probe's pixel (0, 0), and a pattern is the
squared modulus of the orthonormal Fourier transform, zero frequency in the middle.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

N, M, HEIGHT, WIDTH = 16, 7, 41, 46
ENERGY_EV, DISTANCE_M, DETECTOR_PIXEL_M = 12658.0, 1.12, 55e-6
JOULES_PER_EV = 1.602176634e-19
PIXEL_M = 1.2398419843320026e-6 / ENERGY_EV * DISTANCE_M / (N * DETECTOR_PIXEL_M)
BAD = (3, 5)


class Scene:
    """Object, probe, corners (y, x) and counts; the bad pixel reads rubbish."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        self.object = ((0.7 + 0.2 * np.sin(y / 3) * np.cos(x / 5)) * np.exp(0.4j * np.sin(x / 4 + y / 7))).astype("c8")
        v, u = np.mgrid[:N, :N] - N // 2 + 0.25
        disk = np.exp(-((v / 4) ** 2) - (u / 3) ** 2) * np.exp(1j * (0.05 * v**2 + 0.02 * u * v + 0.1 * u))
        self.probe = np.stack([40 * disk, 12 * disk * (v + 0.3 * u) / 4]).astype("c8")
        self.corners = rng.integers(0, (HEIGHT - N, WIDTH - N), (M, 2)).astype(float)
        self.counts = self.predict(self.object, self.probe, self.corners).astype("f4")
        self.counts[:, BAD[0], BAD[1]] = 4e9

    @staticmethod
    def predict(image: np.ndarray, probe: np.ndarray, corners: np.ndarray) -> np.ndarray:
        """Expected counts, (M, N, N), of corners that are whole pixels."""
        whole = np.round(corners).astype(int)
        patches = np.stack([image[y : y + N, x : x + N] for y, x in whole])
        waves = np.fft.fft2(patches[:, None] * probe, norm="ortho")
        return np.fft.fftshift((np.abs(waves) ** 2).sum(1), axes=(1, 2))

    @property
    def bad(self) -> np.ndarray:
        bad = np.zeros((N, N), bool)
        bad[BAD] = True
        return bad


def cxi(path: Path, scene: Scene) -> None:
    """CXI 1.6: the sample moves by +corner along -rows and -columns, that is along +y and +x of the laboratory."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file["entry_1/instrument_1/source_1/energy"] = ENERGY_EV * JOULES_PER_EV
        file["entry_1/instrument_1/source_1/illumination"] = scene.probe
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"], detector["mask"] = scene.counts, scene.bad.astype(np.uint32) * 0x8
        detector["distance"] = DISTANCE_M
        detector["basis_vectors"] = [[0, -DETECTOR_PIXEL_M], [-DETECTOR_PIXEL_M, 0], [0, 0]]
        translation = np.zeros((M, 3))
        translation[:, 0], translation[:, 1] = scene.corners[:, 1] * PIXEL_M, scene.corners[:, 0] * PIXEL_M
        file["entry_1/sample_1/geometry_1/translation"] = translation
        file["entry_1/image_1/data"] = scene.object


def nxcxi(path: Path, scene: Scene) -> None:
    """NXcxi_ptycho as a raster of 1 x M, in units of its own; the ring's energy is a trap."""
    with h5py.File(path, "w") as file:
        file["entry_1/definition"] = "NXcxi_ptycho"
        instrument = file.create_group("entry_1/instrument_1")
        instrument["source_1/energy"] = 3.0
        instrument["source_1/energy"].attrs["units"] = "GeV"
        instrument["beam_1/energy"] = ENERGY_EV / 1000
        instrument["beam_1/energy"].attrs["units"] = "keV"
        detector = instrument.create_group("detector_1")
        detector["data"] = scene.counts[None]
        detector["pixel_mask"] = scene.bad.astype(np.uint32)
        for name, value in (
            ("distance", DISTANCE_M),
            ("x_pixel_size", DETECTOR_PIXEL_M),
            ("y_pixel_size", DETECTOR_PIXEL_M),
        ):
            detector[name] = value * 1e3
            detector[name].attrs["units"] = "mm"
        translation = np.zeros((M, 3))
        translation[:, :2] = scene.corners[:, ::-1] * PIXEL_M * 1e6
        detector["translation"] = translation
        detector["translation"].attrs["units"] = "um"
        file["entry_1/sample_1/geometry_1/translation"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/translation")


def ptyd(path: Path, scene: Scene) -> None:
    """PtyPy data in two chunks, energies in keV; the orientation has been applied already."""
    with h5py.File(path, "w") as file:
        for name, value in {
            "energy": ENERGY_EV / 1000,
            "distance": DISTANCE_M,
            "psize": np.array([DETECTOR_PIXEL_M, DETECTOR_PIXEL_M]),
            "shape": np.array([N, N]),
            "center": np.array([N / 2, N / 2]),
        }.items():
            file[f"meta/{name}"] = value
        file["meta/label"] = np.zeros(1)
        file["meta/label"].attrs["type"] = "None"
        file["info/orientation"] = 3
        for number, part in enumerate((slice(0, 4), slice(4, M))):
            chunk = file.create_group(f"chunks/{number}")
            chunk["data"], chunk["positions"] = scene.counts[part], scene.corners[part] * PIXEL_M
            chunk["weights"] = np.repeat(~scene.bad[None], len(scene.counts[part]), axis=0)
            chunk["indices"] = np.arange(M)[part]


def ptyr(path: Path, scene: Scene) -> None:
    """PtyPy reconstruction: storages with origins; positions are those of the view's pixel N//2."""
    origin = np.array([-3.1e-6, 4.7e-6])
    with h5py.File(path, "w") as file:
        for kind, name, data, start in (
            ("obj", "SS00G00", scene.object[None], origin),
            ("probe", "SP00", scene.probe, 0 * origin),
        ):
            storage = file.create_group(f"content/{kind}/{name}")
            storage["data"], storage["_psize"], storage["_origin"] = data, np.array([PIXEL_M, PIXEL_M]), start
        file["content/positions/SS00G00"] = (scene.corners + N // 2) * PIXEL_M + origin


def product_fields(scene: Scene) -> dict[str, np.ndarray]:
    """A Ptychodus product by the names of its NPZ flavour; the world's middle is anywhere."""
    centre = {"y": 2.5e-6, "x": -1.5e-6}
    middle = {
        "y": (scene.corners[:, 0] + N / 2 - HEIGHT / 2) * PIXEL_M + centre["y"],
        "x": (scene.corners[:, 1] + N / 2 - WIDTH / 2) * PIXEL_M + centre["x"],
    }
    return {
        "name": np.array("scene"),
        "comments": np.array(""),
        "photon_energy_eV": np.array(ENERGY_EV),
        "detector_object_distance_m": np.array(DISTANCE_M),
        "probe_photon_count": np.array(np.sum(np.abs(scene.probe.astype("c16")) ** 2)),
        "exposure_time_s": np.array(0.1),
        "probe_position_indexes": np.arange(10, 10 + M),
        "probe_position_y_m": middle["y"],
        "probe_position_x_m": middle["x"],
        "probe": scene.probe[None],
        "object": scene.object[None],
        "object_center_y_m": np.array(centre["y"]),
        "object_center_x_m": np.array(centre["x"]),
        "object_pixel_height_m": np.array(PIXEL_M),
        "object_pixel_width_m": np.array(PIXEL_M),
        "object_layer_spacing_m": np.zeros(0),
        "loss_values": np.array([3.0, 2.0]),
    }


def product_hdf5(path: Path, scene: Scene) -> None:
    """A Ptychodus product as HDF5: numbers are attributes of the root, or of the object."""
    with h5py.File(path, "w") as file:
        for name, value in product_fields(scene).items():
            if name.startswith("object_") and name != "object_layer_spacing_m":
                continue
            if value.ndim == 0:
                file.attrs[name] = value[()] if value.dtype.kind != "U" else str(value)
            else:
                file[name] = value
        for name in ("center_y_m", "center_x_m", "pixel_height_m", "pixel_width_m"):
            file["object"].attrs[name] = product_fields(scene)[f"object_{name}"][()]


def product_npz(path: Path, scene: Scene) -> None:
    """A Ptychodus product as NPZ."""
    np.savez(path, **product_fields(scene))


def patterns_hdf5(path: Path, scene: Scene) -> None:
    """Ptychodus patterns, in another order than the product's, with one that has no position."""
    order = np.random.default_rng(1).permutation(M)
    with h5py.File(path, "w") as file:
        file["patterns"] = np.concatenate([scene.counts[order], scene.counts[:1]])
        file["patterns"].attrs.update(
            {"detector_pixel_width_m": DETECTOR_PIXEL_M, "detector_pixel_height_m": DETECTOR_PIXEL_M}
        )
        file["indexes"] = [*(order + 10).tolist(), 99]
        file["bad_pixels"] = scene.bad


def patterns_npz(path: Path, scene: Scene) -> None:
    """Ptychodus patterns as NPZ, in reverse order."""
    np.savez(path, patterns=scene.counts[::-1], indexes=np.arange(10, 10 + M)[::-1], bad_pixels=scene.bad)


def ptychopinn(path: Path, scene: Scene) -> None:
    """PtychoPINN: amplitudes, the probe's centre by x and y, and a mask as Ptychodus adds it."""
    y, x = (scene.corners + N // 2).T
    amplitudes = np.sqrt(scene.counts)
    np.savez(
        path,
        diff3d=amplitudes,
        xcoords=x,
        ycoords=y,
        xcoords_start=x + 1,
        ycoords_start=y + 1,
        probeGuess=scene.probe,
        objectGuess=scene.object.astype("c16"),
        scan_index=np.zeros(M, int),
        bad_pixels=scene.bad,
    )


def slac(path: Path, scene: Scene) -> None:
    """SLAC: the patterns' axis comes last, positions are called `_start` and are in metres, numbers beside them."""
    y, x = (scene.corners + N // 2).T * PIXEL_M
    np.savez(
        path,
        diffraction=np.moveaxis(scene.counts, 0, -1),
        xcoords_start=x,
        ycoords_start=y,
        probeGuess=scene.probe[0],
        objectGuess=scene.object,
        photon_energy_eV=ENERGY_EV,
        detector_distance_m=DISTANCE_M,
        detector_pixel_size_m=DETECTOR_PIXEL_M,
        bad_pixels=scene.bad,
    )


def ptychonn(path: Path, scene: Scene) -> None:
    """PtychoNN: intensities with the place of each patch, and the patches."""
    y, x = scene.corners.astype(int).T
    patches = np.stack([scene.object[a : a + N, b : b + N] for a, b in zip(y, x, strict=True)])
    np.savez(path, reciprocal=scene.counts, real=patches, scan=scene.corners * PIXEL_M * 1e6)
