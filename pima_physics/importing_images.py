"""A folder of images as one variable of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pima_physics.errors import DataError, Problems
from pima_physics.importing_checks import SAMPLE, check_size, checked, existing

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM")
"""Decoders that may be tried; Pillow knows many more, some of which run other programs."""


def from_images(
    folder: str | Path,
    *,
    name: str = "image",
    units: str = "dimensionless",
    pattern: str = "*",
) -> xr.Dataset:
    """Read a folder of images of one size; samples are named by their files.

    Parameters
    ----------
    folder : path
    name : str
        Of the variable: dims (sample, y, x), and channel for colour.
    units : str
        Of a pixel's value.
    pattern : str
        Which files, such as ``"*_sem.png"``.

    Raises
    ------
    DataError
        Every file that is no image, has another size, or several frames.
    """
    place = existing(folder, folder=True)
    files = [f for f in sorted(place.glob(pattern)) if f.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(
            f"no image in {folder}",
            expected=f"files {', '.join(SUFFIXES)} that match {pattern!r}",
        )
    pixels = _same_shape(files, name)
    dims = (SAMPLE, "y", "x", "channel")[: pixels.ndim]
    labels = np.array([file.stem for file in files], dtype=object)
    made = xr.Dataset({name: (dims, pixels)}, coords={SAMPLE: labels})
    return checked(made, {name: units}, {name: units}, str(folder))


def _same_shape(files: Sequence[Path], name: str) -> np.ndarray:
    """Return all pixels; every file that does not fit the first is named."""
    problems, arrays = Problems(), []
    first: tuple[int, ...] | None = None
    for file in files:
        try:
            pixels = _pixels(file, name, len(files))
            if first is None:
                first = pixels.shape
            if pixels.shape != first:
                raise DataError(
                    f"{file.name} has another size or colour than {files[0].name}",
                    found=" x ".join(map(str, pixels.shape)),
                    expected=" x ".join(map(str, first)),
                    fix="crop, resize or convert the images first",
                )
            arrays.append(pixels)
        except DataError as error:
            problems.add(error)
    problems.raise_if_any()
    return np.stack(arrays)


def _pixels(file: Path, name: str, count: int) -> np.ndarray:
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            # The size is bounded below, before a pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                check_size(name, count * image.width * image.height * len(image.getbands()))
                if getattr(image, "n_frames", 1) > 1:
                    raise DataError(f"{file.name} has several frames", fix="write one file each")
                return _plain(image)
    except DataError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file.name} cannot be read as an image", found=reason[:200]) from None


def _plain(image: Image.Image) -> np.ndarray:
    """Return grey (y, x) or colour (y, x, 3); a palette and transparency are no measurement."""
    if image.mode in ("P", "RGBA", "PA", "LA", "CMYK", "YCbCr"):
        return np.asarray(image.convert("L" if image.mode == "LA" else "RGB"))
    pixels = np.asarray(image)
    return pixels.astype("u1") if pixels.dtype.kind == "b" else pixels
