from pathlib import Path

import numpy as np

from classify.finetuning.inputs import AugmentedInputs
from classify.labelled_files import LabelledFiles
from extract.read import ImageFile


def test_how_an_image_is_changed_does_not_depend_on_who_else_is_read(photos: Path) -> None:
    """Else a machine that reads a part of the images would change them in another way."""
    files = [ImageFile(path) for path in sorted(photos.rglob("*.png"))[:6]]
    inputs = AugmentedInputs(LabelledFiles(files, np.zeros(6, np.int32), 16))

    def changed(order: list[int]) -> dict[int, np.ndarray]:
        batches = inputs.batches(np.array(order), 2, (0, 1))
        return {row: image for batch in batches for row, image in zip(*batch, strict=True)}

    of_all, of_part = changed([3, 0, 5, 1, 4, 2]), changed([5, 4])
    assert sorted(of_all) == list(range(6))
    assert sorted(of_part) == [4, 5]
    for row, image in of_part.items():
        np.testing.assert_array_equal(image, of_all[row])
