import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from headbench.extract.errors import WeightsError
from headbench.extract.networks.weights import check_shapes, resolve_weights


def never() -> None:
    pytest.fail("nothing was to be fetched")


def test_a_path_is_hashed(tmp_path: Path) -> None:
    path = tmp_path / "w.weights.h5"
    path.write_bytes(b"some weights")
    weights = resolve_weights(str(path), "imagenet.h5", never)
    assert weights.path == path
    assert weights.hash == f"sha256:{hashlib.sha256(b'some weights').hexdigest()}"


@pytest.mark.parametrize("position", [0, 1 << 25, (1 << 26) - 1])
def test_any_byte_of_a_large_weights_file_changes_its_hash_the_last_one_too(
    tmp_path: Path, position: int
) -> None:
    path = tmp_path / "w.weights.h5"
    with path.open("wb") as file:
        file.truncate(1 << 26)  # 64 MB that take no space
    before = resolve_weights(str(path), "imagenet.h5", never).hash
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"x")
    assert resolve_weights(str(path), "imagenet.h5", never).hash != before


def test_random_weights_name_their_seed_and_the_versions_that_draw_them() -> None:
    weights = resolve_weights("random", "imagenet.h5", never)
    assert weights.path is None
    assert weights.hash.startswith("random:seed=0,keras=3.")


@pytest.mark.parametrize(("source", "found"), [("nowhere.h5", "nothing"), (".", "a folder")])
def test_a_missing_file_names_what_was_expected(source: str, found: str) -> None:
    with pytest.raises(
        WeightsError, match=f"'imagenet', 'random' or a weights file, found {found}"
    ):
        resolve_weights(source, "imagenet.h5", never)


def test_imagenet_weights_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def fetch() -> None:
        (tmp_path / "models").mkdir()
        (tmp_path / "models/imagenet.h5").write_bytes(b"x")

    first = resolve_weights("imagenet", "imagenet.h5", fetch)
    assert resolve_weights("imagenet", "imagenet.h5", never) == first


def test_no_network_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    address = "https://weights.example/resnet/imagenet.h5"

    def fetch() -> None:
        raise Exception(f"URL fetch failure on {address}: None -- [Errno -2] Name unknown")

    with pytest.raises(WeightsError) as caught:
        resolve_weights("imagenet", "imagenet.h5", fetch)
    assert str(caught.value) == (
        "ImageNet weights cannot be downloaded ([Errno -2] Name unknown). Download "
        f"{address} on another machine and copy it to {tmp_path / 'models'}, or give its path: "
        "--weights PATH."
    )


def test_weights_that_fail_without_an_address_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def fetch() -> None:
        raise TimeoutError("timed out")

    with pytest.raises(WeightsError, match=r"downloaded \(timed out\)\. Download imagenet.h5 on"):
        resolve_weights("imagenet", "imagenet.h5", fetch)


def test_shapes_decide_whose_weights_they_are(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["a/kernel"] = np.zeros((3, 4))
        file["a/bias"] = np.zeros(4)
    check_shapes(path, [(4,), (3, 4)], "Net")
    with pytest.raises(WeightsError, match=r"of 2 arrays, 0 do not fit and 1 are missing"):
        check_shapes(path, [(4,), (4,), (3, 4)], "Net")
    with pytest.raises(WeightsError, match=r"expected one of \(5,\), found one of \(4,\)"):
        check_shapes(path, [(5,), (3, 4)], "Net")


def test_weights_that_lie_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["bias"] = np.zeros(4)
    for link in (h5py.ExternalLink("other.h5", "/bias"), h5py.SoftLink("/nowhere")):
        with h5py.File(path, "w") as file:
            file["a/kernel"] = np.zeros((3, 4))
            file["a/bias"] = link
        with pytest.raises(
            WeightsError, match="/a/bias is a link, which headbench does not follow"
        ):
            check_shapes(path, [(3, 4), (4,)], "Net")


def test_a_file_that_is_not_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"hello")
    with pytest.raises(WeightsError, match=r"not a readable HDF5 file .* weights as Keras"):
        check_shapes(path, [(4,)], "Net")
