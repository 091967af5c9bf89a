"""A folder of image files, a folder a class."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landscape_cli.datasets.dataset import DataSet, make
from landscape_cli.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm"}


def load(argument: str, *, size: int | None = None, channels: Literal["auto", "gray", "rgb"] = "auto") -> DataSet:
    """Images from ``DIR/train/CLASS/*.png`` and ``DIR/test/CLASS/*.png`` (or ``val``); classes in name order.

    Args:
        argument: The folder.
        size: Scale the shorter side to this and cut the middle square; without it all images must be of one size.
        channels: ``gray``, ``rgb``, or what the first image has.

    Raises:
        DataError: If a part, a class or an image is missing or damaged, or sizes differ.
    """
    root = Path(argument)
    train = root / "train"
    test = next((root / n for n in ("test", "val", "validation", "valid") if (root / n).is_dir()), root / "test")
    for part in (train, test):
        if not part.is_dir():
            raise DataError(f"imagefolder: {part} does not exist", "lay it out as DIR/train/CLASS and DIR/test/CLASS")
    classes = sorted(folder.name for folder in train.iterdir() if folder.is_dir())
    unknown = sorted({f.name for f in test.iterdir() if f.is_dir()} - set(classes))
    if not classes:
        raise DataError(f"imagefolder: {train} holds no class folders")
    if unknown:
        raise DataError(f"imagefolder: class '{unknown[0]}' is in {test.name} but not in train")
    mode = {"gray": "L", "rgb": "RGB", "auto": None}[channels]
    train_part, mode = _read(train, classes, size, mode)
    test_part, _ = _read(test, classes, size, mode)
    return make(f"imagefolder:{root.name}", train_part, test_part, class_names=classes)


def _read(
    folder: Path, classes: list[str], size: int | None, mode: str | None
) -> tuple[tuple[NDArray[Any], NDArray[Any]], str]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise DataError("image files need the package pillow", "pip install 'landscape-cli[images]'") from None
    files = [
        (file, label)
        for label, name in enumerate(classes)
        for file in sorted((folder / name).rglob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise DataError(f"imagefolder: {folder} holds no image files")
    images: NDArray[np.uint8] | None = None
    for number, (file, _) in enumerate(files):
        try:
            with Image.open(file) as opened:
                if mode is None:
                    mode = "L" if opened.mode in ("L", "1", "I", "I;16") else "RGB"
                pixels = np.asarray(_fit(opened.convert(mode), size))
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"{file} is no readable image: {error}") from error
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if images is None:
            images = np.empty((len(files), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise DataError(
                f"{file} is {pixels.shape[2]}×{pixels.shape[1]}, the images before it are "
                f"{images.shape[3]}×{images.shape[2]}",
                "give one size to all: --data-option size=64",
            )
        images[number] = pixels
    assert images is not None
    assert mode is not None
    return (images, np.array([label for _, label in files])), mode


def _fit(image: Any, size: int | None) -> Any:
    """Scale the shorter side to ``size`` and cut the middle square."""
    if size is None:
        return image
    width, height = image.size
    scale = size / min(width, height)
    width, height = max(size, round(width * scale)), max(size, round(height * scale))
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height)).crop((left, top, left + size, top + size))
