"""Files of a stranger: whatever they hold, they end in one clear error and run no code."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from headbench.cache.errors import FeatureFileError, HeadbenchError
from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import load_arrays
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.deployment.prediction import predict_files
from headbench.classify.errors import RunError
from headbench.classify.report.write import write_report
from headbench.classify.run import NETWORK_FILE, Run
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import TrainSettings
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.classify.conftest import save_as_before
from tests.conftest import ROOT, needs_posix, write_class_folders

# A head whose network is in a Keras file, as heads of versions before.
KERAS_HEAD = "mlp-64"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with heads of several kinds; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("trained")
    photos = write_class_folders(folder / "photos")
    run = Run(folder / "runs/colors")
    settings = ExtractSettings(backbone="mean-color", size_px=16)
    extract_features(photos, run.features_path, settings)
    common = {"max_epochs": 1, "max_rounds": 3}
    names = ["logreg", "lightgbm", "mlp-128", "vote"]
    train_heads(run, names, 0, TrainSettings(common=common))
    train_heads(run, [KERAS_HEAD], 0, TrainSettings(common={"max_epochs": 1}))
    save_as_before(run.trained_folder(KERAS_HEAD))
    return run


@pytest.fixture
def mine(trained: Run, tmp_path: Path) -> Run:
    """The run once more, for a stranger to put files into."""
    return Run(shutil.copytree(trained.folder, tmp_path / "colors"))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What a payload would create."""
    return tmp_path / "code was run"


def first_photo(run: Run) -> Path:
    with FeatureFile(run.features_path) as features:
        return Path(features.config.data["folder"]) / features.table.paths[0]


def predict(run: Run, head: str) -> None:
    photo = first_photo(run)
    list(predict_files(open_classifier(run, head, None), [photo], 3))


def call(module: str, name: str, /, **config: Any) -> dict[str, Any]:
    """An object as Keras describes it in a file."""
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def dense(**config: Any) -> dict[str, Any]:
    return call("keras.layers", "Dense", units=3, **config)


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    start = call("keras.layers", "InputLayer", batch_shape=[None, 3])
    return call("keras", "Sequential", name="sequential", layers=[start, *layers])


KERAS_CONFIGS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "a process": lambda marker: call("subprocess", "Popen", args=["touch", str(marker)]),
    "a process as a layer": lambda marker: sequential(
        call("subprocess", "Popen", args=["touch", str(marker)])
    ),
    "a function": lambda marker: {
        **call("os", "function"),
        "config": "system",
        "build_config": {"input_shape": f"touch '{marker}'"},
    },
    "an activation": lambda _: sequential(
        dense(activation=call("os", "function") | {"config": "system"})
    ),
    "a builtin": lambda marker: call("builtins", "exec", source=f"open({str(marker)!r}, 'w')"),
    "a module that is imported": lambda _: sequential(call("payload_of_a_stranger", "Layer")),
    "a registered name": lambda _: (
        sequential({**dense(), "registered_name": "stranger>Layer"})
        | {"registered_name": "stranger>Model", "module": None, "class_name": "Model"}
    ),
    "a file that is fetched": lambda marker: call(
        "keras.utils", "get_file", fname=str(marker), origin=f"file://{__file__}"
    ),
    "a lambda": lambda _: sequential(
        call(
            "keras.layers",
            "Lambda",
            function=call("builtins", "__lambda__")
            | {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}},
        )
    ),
    "nothing": lambda _: {},
    "a list": lambda _: [],  # type: ignore[dict-item, return-value]
}


def put_keras(path: Path, config: Any) -> None:
    """Rewrite a Keras file with another network in it."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    kept["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("kind", KERAS_CONFIGS)
@pytest.mark.parametrize("place", ["head", "network"])
def test_a_keras_file_runs_nothing(
    mine: Run, marker: Path, kind: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mine.folder / "payload_of_a_stranger.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(mine.folder)
    head = mine.trained_folder(KERAS_HEAD)
    if place == "network":
        network = Path(shutil.copytree(head, mine.trained_folder("finetuned")))
        (network / "model.keras").rename(network / NETWORK_FILE)
        change_json(network / "record.json", {"name": "finetuned"})
        put_keras(network / NETWORK_FILE, KERAS_CONFIGS[kind](marker))
        name = "finetuned"
    else:
        put_keras(head / "model.keras", KERAS_CONFIGS[kind](marker))
        name = KERAS_HEAD
    with pytest.raises(RunError, match="cannot be loaded"):
        predict(mine, name)
    assert not marker.exists()


def test_a_keras_file_with_a_real_lambda_runs_nothing(mine: Run, marker: Path) -> None:
    keras = load_keras()
    place = str(marker)

    def payload(x: Any) -> Any:
        open(place, "w").close()
        return x

    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: payload(x))])
    marker.unlink(missing_ok=True)
    model.save(mine.trained_folder(KERAS_HEAD) / "model.keras")
    with pytest.raises(RunError, match=r"loaded .*code execution .*by default\)\. Delete"):
        predict(mine, KERAS_HEAD)
    assert not marker.exists()


class Payload:
    """Unpickled, it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize(
    ("head", "file"),
    [
        *(("logreg", file) for file in ("classes.npz", "softmax.npz", "proba.npz")),
        *(("mlp-128", file) for file in ("classes.npz", "mlp.npz", "proba.npz")),
        (KERAS_HEAD, "normalise.npz"),
        ("vote", "0/classes.npz"),
        ("lightgbm", "scores.npz"),
    ],
)
def test_arrays_run_no_pickle(mine: Run, marker: Path, head: str, file: str) -> None:
    with (mine.trained_folder(head) / file).open("wb") as out:
        np.savez(out, val=np.array([Payload(marker)], dtype=object))
    with pytest.raises(RunError, match=r"cannot be loaded"):
        predict(mine, head)
    assert not marker.exists()


def change_json(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"kind": kind}
            for kind in ("os.system", "Head", "Vote", "__class__", None, ["LogReg"], 7)
        ),
        *({"parameters": value} for value in ([], None, {"evil": 1}, {"cs": 3, "self": 1}, "C")),
        *({"n_features": value} for value in (None, "three", [3], 10**30, -1, 4, {})),
        *({"temperature": value} for value in (None, "hot", [1], float("nan"), 0, -1, {})),
    ],
    ids=str,
)
def test_a_hostile_head_is_one_clear_error(mine: Run, changes: dict[str, Any]) -> None:
    change_json(mine.trained_folder("logreg") / "head.json", changes)
    with pytest.raises(RunError, match="cannot be loaded"):
        predict(mine, "logreg")


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "7", "null", "[" * 100_000, '{"a":' * 100_000, "\0"]
)
@pytest.mark.parametrize(
    "file", ["heads/logreg/head.json", "heads/logreg/record.json", "heads/vote/weights.json"]
)
def test_text_that_is_no_description_is_one_clear_error(mine: Run, file: str, text: str) -> None:
    (mine.folder / file).write_text(text)
    with pytest.raises(RunError, match="cannot be loaded"):
        predict(mine, Path(file).parent.name)


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": name} for name in (None, 7, "mlp-128", "../logreg", [])),
        *({"classes": value} for value in (None, 5, [], ["a"], [1, 2, 3], "blue", {"a": 1})),
        *({key: [1]} for key in ("chosen", "settings", "history", "calibration")),
        *({key: "x"} for key in ("fit_seconds", "predict_seconds", "seed", "dim", "is_refit")),
        {"history": {"loss": "high"}},
        {"dim": 4},
        {"made_by": None},
        {"command": 3},
        {"extra": 1},
        {"version": "3"},
        *({key: float("nan")} for key in ("fit_seconds", "predict_seconds")),
        {"fit_seconds": -1.0},
        {"history": {"val_log_loss": [float("nan")]}},
        {"history": {"C": [1.0, 2.0], "val_log_loss": [1.0]}},
        {"history": {"alpha": [1.0], "val_log_loss": [1.0]}},
        {"chosen": {"C": "much"}},
        {"settings": {"C": [float("inf")]}},
        *({"calibration": {"temperature": value}} for value in ("hot", 0, -1, float("nan"), [1])),
    ],
    ids=str,
)
def test_a_hostile_record_is_one_clear_error(mine: Run, changes: dict[str, Any]) -> None:
    change_json(mine.trained_folder("logreg") / "record.json", changes)
    with pytest.raises(RunError, match=r"record\.json: "):
        predict(mine, "logreg")


@pytest.mark.parametrize(
    "weights",
    [{}, [], {"logreg": "much"}, {"a": None}, {"../../logreg": 1.0, "b": 1, "c": 1, "d": 1}],
)
def test_hostile_weights_of_a_vote_are_one_clear_error(mine: Run, weights: Any) -> None:
    (mine.trained_folder("vote") / "weights.json").write_text(json.dumps(weights))
    with pytest.raises(RunError, match="cannot be loaded"):
        predict(mine, "vote")


@pytest.mark.parametrize(
    ("file", "arrays"),
    [
        ("softmax.npz", {"kernel": np.zeros((4, 3)), "bias": np.zeros(3)}),
        ("softmax.npz", {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)}),
        ("softmax.npz", {"kernel": np.full((3, 3), "x"), "bias": np.zeros(3)}),
        ("softmax.npz", {"kernel": np.full((3, 3), np.nan), "bias": np.zeros(3)}),
        ("softmax.npz", {"kernel": np.full((3, 3), 3e38), "bias": np.zeros(3)}),
        ("softmax.npz", {"kernel": np.full((3, 3), 1j), "bias": np.zeros(3)}),
        ("classes.npz", {"classes": np.array([0, 1, 10**9])}),
        ("classes.npz", {"classes": np.array(["a", "b", "c"])}),
        ("classes.npz", {"other": np.zeros(3)}),
        ("proba.npz", {"val": np.zeros((2, 2)), "test": np.zeros((1, 3))}),
    ],
)
def test_arrays_that_do_not_fit_are_one_clear_error(
    mine: Run, file: str, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(mine.trained_folder("logreg") / file, **arrays)
    with pytest.raises(RunError, match="cannot be loaded"):
        predict(mine, "logreg")


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel_0": np.zeros((4, 128))},
        {"kernel_1": np.zeros((128, 2))},
        {"bias_0": np.full(128, np.nan)},
        {"bias_1": None},
        {"mean": np.zeros(4)},
        {"scale": np.zeros(2)},
    ],
    ids=str,
)
def test_weights_of_a_network_that_do_not_fit_are_one_clear_error(
    mine: Run, changes: dict[str, Any]
) -> None:
    path = mine.trained_folder("mlp-128") / "mlp.npz"
    arrays = load_arrays(path) | changes
    np.savez(path, **{name: each for name, each in arrays.items() if each is not None})
    with pytest.raises(RunError, match="cannot be loaded"):
        predict(mine, "mlp-128")


@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf, 3e38, 0.0], ids=str)
def test_probabilities_that_are_none_are_one_clear_error(mine: Run, value: float) -> None:
    path = mine.trained_folder("logreg") / "proba.npz"
    arrays = load_arrays(path)
    arrays["test"][4, arrays["test"][4].argmax()] = value
    np.savez(path, **arrays)
    with pytest.raises(RunError, match=r"proba\.npz: cannot be loaded \(.*expected"):
        write_report(mine)


@pytest.mark.parametrize("value", [np.nan, 3e38])
def test_a_network_that_gives_no_probabilities_is_one_clear_error(mine: Run, value: float) -> None:
    """3e38 overflows on an image alone: on embeddings of zeros the head gives probabilities."""
    path = mine.trained_folder(KERAS_HEAD) / "model.keras"
    model = load_keras().saving.load_model(path)
    kernels = [
        np.full_like(each, value) if each.ndim == 2 else each for each in model.get_weights()
    ]
    model.set_weights(kernels)
    model.save(path)
    with pytest.raises(RunError, match=r"cannot be loaded \(expected probabilities"):
        predict(mine, KERAS_HEAD)


@pytest.mark.parametrize("n_features", [0, 10**9])
def test_a_head_is_not_tried_on_as_many_features_as_it_claims(mine: Run, n_features: int) -> None:
    change_json(mine.trained_folder("logreg") / "head.json", {"n_features": n_features})
    with pytest.raises(RunError, match=r"cannot be loaded \(n_features: expected 1 to 16777216"):
        predict(mine, "logreg")


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("file", "name"),
    [("head.json", "chosen"), ("record.json", "settings"), ("record.json", "chosen")],
)
def test_json_that_is_nested_is_one_clear_error(mine: Run, file: str, name: str) -> None:
    change_json(mine.trained_folder("logreg") / file, {name: {"a": nested(900)}})
    with pytest.raises(RunError, match=r"cannot be loaded \(JSON nested more than 64 levels deep"):
        predict(mine, "logreg")


@needs_posix
@pytest.mark.parametrize(
    ("head", "file"),
    [
        *(("logreg", file) for file in ("record.json", "head.json", "softmax.npz", "proba.npz")),
        ("lightgbm", "model.txt"),
        ("mlp-128", "mlp.npz"),
        (KERAS_HEAD, "model.keras"),
        ("vote", "weights.json"),
    ],
)
def test_a_pipe_or_a_device_in_place_of_a_file_is_not_opened(
    mine: Run, head: str, file: str
) -> None:
    path = mine.trained_folder(head) / file
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RunError, match=r"cannot be loaded .*a pipe, not a file"):
        predict(mine, head)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match=r"cannot be loaded .*a device, not a file"):
        predict(mine, head)


LEADING_AWAY: dict[str, Callable[[h5py.Group, str, Path], object]] = {
    "a link": lambda group, name, other: group.__setitem__(
        name, h5py.ExternalLink(str(other), "/secret")
    ),
    "another file": lambda group, name, other: group.create_dataset(
        name, (3,), np.float32, external=[(str(other), 0, 12)]
    ),
}


@pytest.mark.parametrize("kind", LEADING_AWAY)
def test_weights_in_a_keras_file_are_not_read_from_another_file(
    mine: Run, tmp_path: Path, kind: str
) -> None:
    path, weights = mine.trained_folder(KERAS_HEAD) / "model.keras", tmp_path / "model.weights.h5"
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    weights.write_bytes(kept[weights.name])
    with h5py.File(weights, "a") as file:
        [place] = [name for name in _datasets(file) if name.endswith("dense/vars/1")]
        del file[place]
        LEADING_AWAY[kind](file[place.rpartition("/")[0]], "1", tmp_path / "other")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (kept | {weights.name: weights.read_bytes()}).items():
            archive.writestr(name, content)
    with pytest.raises(RunError, match=rf"cannot be loaded \(model\.weights\.h5: .*{kind}"):
        predict(mine, KERAS_HEAD)


def _datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return found


DAMAGES = (
    (r"(?s)tree_sizes=.*", ""),
    (r"num_class=\d+", "num_class=1000000000"),
    (r"num_class=\d+", "num_class=-1"),
    (r"max_feature_idx=\d+", "max_feature_idx=1000000000"),
    (r"split_feature=\d+", "split_feature=1000000"),
    (r"left_child=-?\d+", "left_child=1000000"),
    (r"right_child=-?\d+", "right_child=-1000000"),
    (r"left_child=-?\d+", "left_child=0"),
    (r"num_leaves=\d+", "num_leaves=1000000000"),
    (r"num_cat=\d+", "num_cat=3"),
    (r"decision_type=\d+", "decision_type=1"),
    (r"leaf_value=\S+", "leaf_value=nan"),
    (r"(?s)Tree=0.*", "Tree=0\nnum_leaves=2\n"),
)
# The command line for one run after the other; LightGBM would end the whole process.
PREDICT_ALL = """
import sys
from headbench import terminal
from headbench.command_line import main
photo, *runs = sys.argv[1:]
for run in runs:
    arguments = ["predict", run, "--head", "lightgbm", "--images", photo]
    print(terminal.run(main, arguments), flush=True)
"""


def test_damaged_trees_are_one_clear_error_and_never_a_crash(trained: Run, tmp_path: Path) -> None:
    """In a process of its own, which has to live through all of them."""
    runs = [tmp_path / str(number) for number in range(len(DAMAGES))]
    for folder, (pattern, replacement) in zip(runs, DAMAGES, strict=True):
        shutil.copytree(trained.folder, folder)
        path = folder / "heads/lightgbm/model.txt"
        text, n_changed = re.subn(pattern, replacement, path.read_text(), count=1)
        assert n_changed
        path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PREDICT_ALL, first_photo(trained), *runs],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2"] * len(runs), done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(runs)
    for folder, error in zip(runs, errors, strict=True):
        assert f"{folder}/heads/lightgbm" in error
        assert "cannot be loaded" in error


@pytest.mark.parametrize("name", ["paths", "classes", "embeddings", "labels"])
def test_objects_in_a_feature_file_are_refused(mine: Run, name: str) -> None:
    with h5py.File(mine.features_path, "a") as file:
        n = len(file[name])
        del file[name]
        file.create_dataset(name, data=np.array(["x"] * n, dtype=object), dtype=h5py.string_dtype())
    with pytest.raises(FeatureFileError, match=name):
        predict(mine, "logreg")


def test_references_in_a_feature_file_are_refused(mine: Run) -> None:
    with h5py.File(mine.features_path, "a") as file:
        n = len(file["labels"])
        references = np.array([file["paths"].ref] * n, dtype=h5py.ref_dtype)
        del file["labels"]
        file.create_dataset("labels", data=references, dtype=h5py.ref_dtype)
    with pytest.raises(HeadbenchError, match="labels"):
        predict(mine, "logreg")
