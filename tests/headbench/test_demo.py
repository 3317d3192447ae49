from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from headbench import command_line, demo
from headbench.demo import run_demo, write_digits
from tests.conftest import listen


def test_the_digits_are_written_as_images_in_class_folders(tmp_path: Path) -> None:
    write_digits(tmp_path)
    paths = sorted(tmp_path.rglob("*.png"))
    assert len(paths) == 1797
    assert sorted(path.name for path in tmp_path.iterdir()) == [str(digit) for digit in range(10)]
    digits = load_digits()
    for path in paths[::300]:
        number = int(path.stem)
        assert path.parent.name == str(digits.target[number])
        seen = np.asarray(Image.open(path).resize((8, 8), Image.Resampling.BOX), dtype=float)
        assert np.corrcoef(seen.ravel(), digits.images[number].ravel())[0, 1] > 0.9


def test_digits_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    write_digits(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    write_digits(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before


STAGES = ["features", "heads", "finetune", "report", "predict"]


@pytest.mark.parametrize("is_there", [True, False])
def test_imagenet_weights_are_taken_when_they_are_there_and_random_ones_are_said_aloud(
    is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens: no network
    monkeypatch.setattr(demo, "write_digits", lambda _: None)
    if is_there:
        path = tmp_path / "keras/models/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")
    called: list[list[str]] = []
    monkeypatch.setattr(command_line, "main", called.append)
    said = listen()
    run_demo(str(tmp_path / "demo"))
    assert [arguments[0] for arguments in called] == STAGES
    assert called[0][called[0].index("--weights") + 1] == ("imagenet" if is_there else "random")
    assert any("RANDOM" in line for line in said) is not is_there
