"""Folders of real photographs, one fault each, and sound ones."""

import json
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from PIL import ExifTags, Image, ImageEnhance

from tests.classify.doctor.zoo.project import Case, Project

N_CLASSES, PER_CLASS = 5, 30
TRAIN, VAL = "train", "val"


def class_folders(shared: Path) -> list[Path]:
    return sorted((shared / "data/food10/images").iterdir())[:N_CLASSES]


def photos(folder: Path, start: int = 0, n: int = PER_CLASS) -> list[Path]:
    return sorted(folder.iterdir())[start : start + n]


def copy(files: Sequence[Path], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(file, folder / file.name)) for file in files]


def flat(folder: Path, shared: Path, per_class: int = PER_CLASS) -> Path:
    """A folder for each class."""
    root = folder / "photos"
    for source in class_folders(shared):
        copy(photos(source, n=per_class), root / source.name)
    return root


def split(folder: Path, shared: Path, n_val: int = 20) -> Path:
    """Folders train and val, and a folder for each class in both."""
    root = folder / "photos"
    for source in class_folders(shared):
        copy(photos(source), root / TRAIN / source.name)
        copy(photos(source, PER_CLASS, n_val), root / VAL / source.name)
    return root


def images_in(root: Path, class_name: str = "*") -> list[Path]:
    return sorted(root.glob(f"**/{class_name}/*.jpg"))


def first_class(root: Path) -> Path:
    return sorted(path for path in root.iterdir() if path.is_dir())[0]


def too_few(folder: Path, shared: Path, n: int) -> Case:
    root = flat(folder, shared)
    for path in sorted(first_class(root).iterdir())[n:]:
        path.unlink()
    return Case([root])


def uneven(folder: Path, shared: Path, largest: int, rest: int) -> Case:
    root = folder / "photos"
    for number, source in enumerate(class_folders(shared)):
        copy(photos(source, n=largest if number == 0 else rest), root / source.name)
    return Case([root])


def corrupt(folder: Path, shared: Path) -> Case:
    """A tenth of the files cut off in the middle, as a broken download leaves them."""
    root = flat(folder, shared)
    for path in images_in(root)[::10]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return Case([root])


def corrupt_class(folder: Path, shared: Path) -> Case:
    root = flat(folder, shared)
    for path in first_class(root).iterdir():
        path.write_bytes(b"<html>404</html>")
    return Case([root])


def two_labels(folder: Path, shared: Path, n: int) -> Case:
    root = flat(folder, shared)
    first, second = sorted(root.iterdir())[:2]
    for path in sorted(first.iterdir())[:n]:
        shutil.copy(path, second / f"again-{path.name}")
    return Case([root])


def exact_copies(folder: Path, shared: Path) -> Case:
    root = split(folder, shared)
    for source in (root / TRAIN).iterdir():
        for path in sorted(source.iterdir())[:15]:
            shutil.copy(path, root / VAL / source.name / f"again-{path.name}")
    return Case([root])


def near_copies(folder: Path, shared: Path) -> Case:
    """Augmented before it was split: smaller, brighter, saved anew."""
    root = split(folder, shared)
    for source in (root / TRAIN).iterdir():
        for path in sorted(source.iterdir())[:15]:
            with Image.open(path) as image:
                smaller = image.resize((image.width // 2, image.height // 2))
            brighter = ImageEnhance.Brightness(smaller.convert("RGB")).enhance(1.1)
            brighter.save(root / VAL / source.name / f"augmented-{path.name}", quality=60)
    return Case([root])


def near_copies_two_labels(folder: Path, shared: Path) -> Case:
    root = flat(folder, shared)
    first, second = sorted(root.iterdir())[:2]
    for path in sorted(first.iterdir())[:10]:
        with Image.open(path) as image:
            image.convert("RGB").save(second / f"anew-{path.name}", quality=50)
    return Case([root])


def by_order(folder: Path, shared: Path, *script: str) -> Case:
    return Case([flat(folder, shared)], ["validation_split=0.2", *script])


def class_missing_in_val(folder: Path, shared: Path) -> Case:
    root = split(folder, shared)
    shutil.rmtree(first_class(root / VAL))
    return Case([root])


def other_indices(folder: Path, shared: Path) -> Case:
    root = flat(folder, shared)
    names = sorted(path.name for path in root.iterdir())
    indices = folder / "class_indices.json"
    indices.write_text(json.dumps({name: row for row, name in enumerate(reversed(names))}))
    return Case([root], [f"class_indices={indices}"])


def resaved(paths: Sequence[Path], n_px: int = 0, mode: str = "RGB") -> None:
    for path in paths:
        with Image.open(path) as image:
            changed = image.convert(mode)
        if n_px:
            changed.thumbnail((n_px, n_px))
        changed.save(path)


def tiny(folder: Path, shared: Path) -> Case:
    root = flat(folder, shared)
    resaved(images_in(root), n_px=40)
    return Case([root])


def one_class_grey(folder: Path, shared: Path) -> Case:
    root = flat(folder, shared)
    resaved(images_in(root, first_class(root).name), mode="L")
    return Case([root])


def rotated(paths: Sequence[Path]) -> None:
    for path in paths:
        with Image.open(path) as image:
            image.load()
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = 6
            image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


def one_class_rotated(folder: Path, shared: Path) -> Case:
    root = flat(folder, shared)
    rotated(images_in(root, first_class(root).name))
    return Case([root])


def split_folders_beside_another(folder: Path, shared: Path) -> Case:
    root = split(folder, shared)
    copy(photos(class_folders(shared)[0], 100, 20), root / "new")
    return Case([root])


def sound_with_oddities(folder: Path, shared: Path) -> Case:
    """A copy, a turned photograph, a grey one, a text file, a little imbalance."""
    root = flat(folder, shared)
    paths = images_in(root)
    shutil.copy(paths[0], paths[0].with_name("again.jpg"))
    rotated(paths[1:3])
    resaved(paths[4:5], mode="L")
    (root / "notes.txt").write_text("Photographed in August.")
    for path in paths[-10:]:
        path.unlink()
    return Case([root])


def all_grey(folder: Path, shared: Path) -> Case:
    root = flat(folder, shared)
    resaved(images_in(root), mode="L")
    return Case([root])


def _projects() -> Iterator[Project]:
    yield Project("a class of two images", partial(too_few, n=2), "few-images")
    yield Project("a class of eight images", partial(too_few, n=8), "few-images")
    yield Project("twelve times as many", partial(uneven, largest=120, rest=10), "imbalance")
    yield Project("downloads cut off", corrupt, "corrupt-files")
    yield Project(
        "a class of error pages", corrupt_class, "corrupt-files", frozenset({"few-images"})
    )
    yield Project("many under two labels", partial(two_labels, n=15), "one-image-two-labels")
    yield Project("one under two labels", partial(two_labels, n=1), "one-image-two-labels")
    yield Project("copies of train in val", exact_copies, "copies-across-splits")
    yield Project("augmented before split", near_copies, "near-copies-across-splits")
    yield Project(
        "saved anew under another label", near_copies_two_labels, "near-copies-two-labels"
    )
    yield Project("validation_split of fit", by_order, "split-by-file-order")
    yield Project(
        "validation_split of a data set that is not shuffled",
        lambda folder, shared: by_order(
            folder, shared, "loader=image_dataset_from_directory", "shuffle=false"
        ),
        "split-by-file-order",
    )
    yield Project("a class missing in val", class_missing_in_val, "classes-differ-between-splits")
    yield Project("another class_indices.json", other_indices, "class-indices-differ")
    yield Project("thumbnails", tiny, "tiny-images")
    yield Project("one class in grey", one_class_grey, "grey-images")
    yield Project("one class stored turned", one_class_rotated, "exif-rotated")
    yield Project("train and val beside others", split_folders_beside_another, "splits-as-classes")
    yield Project("sound: food10", lambda _, shared: Case([shared / "data/food10"]))
    yield Project("sound: a folder per class", lambda *places: Case([flat(*places)]))
    yield Project("sound: train and val", lambda *places: Case([split(*places)]))
    yield Project("sound: a few oddities", sound_with_oddities)
    yield Project("sound: all in grey", all_grey)
    yield Project("sound: a little uneven", partial(uneven, largest=60, rest=20))
    yield Project(
        "sound: a split that is shuffled",
        lambda folder, shared: by_order(folder, shared, "loader=image_dataset_from_directory"),
    )


PROJECTS: tuple[Project, ...] = tuple(_projects())
