"""Small folders of real photographs, and what can go wrong with a file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageOps

CLASSES = ("apple_pie", "baklava", "beet_salad", "bibimbap")
UPRIGHT_OF_8 = 8
ORIENTATION = 0x0112


def photographs(shared: Path, class_name: str) -> list[Path]:
    """The 160 photographs of a class, sorted."""
    return sorted((shared / "data/food10/images" / class_name).iterdir())


def fill(
    folder: Path, shared: Path, n: int, first: int = 0, classes: tuple[str, ...] = CLASSES
) -> None:
    """`n` photographs of each class, from the one at `first` on, as links."""
    for class_name in classes:
        link(photographs(shared, class_name)[first : first + n], folder / class_name)


def link(files: list[Path], folder: Path) -> None:
    """Put files into a folder, under their own names."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        os.symlink(file, folder / file.name)


def files_of(folder: Path) -> list[Path]:
    """The files of a class folder, sorted."""
    return sorted(folder.iterdir())


def alter(
    files: list[Path], change: Callable[[Image.Image], Image.Image], **options: object
) -> None:
    """Write pictures anew, changed, in place of the links."""
    for file in files:
        with Image.open(file) as image:
            changed = change(image.convert("RGB"))
        file.unlink(missing_ok=True)
        changed.save(file, **{"quality": 85, **options})


def save_changed(
    files: list[Path], folder: Path, change: Callable[[Image.Image], Image.Image], prefix: str
) -> None:
    """Write changed copies of pictures into another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        copy = folder / f"{prefix}{file.name}"
        shutil.copyfile(file, copy)
        alter([copy], change)


def cut_off(files: list[Path]) -> None:
    """Leave the first half of each file."""
    for file in files:
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data[: len(data) // 2])


def smaller(image: Image.Image) -> Image.Image:
    """Half as long and wide."""
    return image.resize((image.width // 2, image.height // 2))


def tiny(image: Image.Image) -> Image.Image:
    """40 x 40 px."""
    return image.resize((40, 40))


def grey(image: Image.Image) -> Image.Image:
    """Without colour, in three channels."""
    return image.convert("L").convert("RGB")


def mirrored(image: Image.Image) -> Image.Image:
    """Left and right changed."""
    return ImageOps.mirror(image)


def lay_on_their_sides(files: list[Path]) -> None:
    """Store pictures turned, with the way up in EXIF, as cameras do."""
    exif = Image.Exif()
    exif[ORIENTATION] = UPRIGHT_OF_8
    alter(files, lambda image: image.transpose(Image.Transpose.ROTATE_270), exif=exif)
