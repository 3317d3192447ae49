"""Exports where there is no headbench: the same probabilities as predict, within 1e-4."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.export.exportable import seen_by
from headbench.classify.heads.registry import load_head
from headbench.classify.heads.temperature import sharpen
from headbench.classify.run import Run
from headbench.extract.images.decode import decode
from headbench.extract.networks.engines import relative_difference
from tests.classify.export.alone import run_alone
from tests.classify.export.conftest import predicted

TENSORFLOW = """
import json, sys
import numpy as np
import tensorflow as tf

files = [open(path, "rb").read() for path in sys.argv[2:]]
pixels = np.load("pixels.npy")
served = tf.saved_model.load(sys.argv[1] + "/saved_model").signatures
by_file = served["serving_default"](image_bytes=tf.constant(files))
by_pixels = served["pixels"](pixels=pixels)
described = {key: value.numpy() for key, value in served["describe"]().items()}
network = tf.keras.models.load_model(sys.argv[1] + "/model.keras", safe_mode=True)
print(json.dumps({
    "by_file": by_file["probabilities"].numpy().tolist(),
    "by_pixels": by_pixels["probabilities"].numpy().tolist(),
    "by_keras": np.asarray(network(pixels)).tolist(),
    "labels": [label.decode() for label in by_file["label"].numpy()],
    "classes": [name.decode() for name in described["classes"]],
    "provenance": json.loads(described["provenance"]),
}))
"""
ONNX = """
import json, sys
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
pixels = np.load("pixels.npy")
facts = session.get_modelmeta().custom_metadata_map
(single,) = session.run(["probabilities"], {"pixels": pixels[:1]})
(all_of_them,) = session.run(["probabilities"], {"pixels": pixels})
print(json.dumps({
    "one": single.tolist(),
    "all": all_of_them.tolist(),
    "facts": {key: json.loads(value) for key, value in facts.items()},
}))
"""


@pytest.fixture
def folder(tmp_path: Path, photographs: list[Path]) -> Path:
    """A folder elsewhere, with the pixels of the photographs."""
    pixels = np.stack([decode(path.read_bytes(), 32) for path in photographs])
    np.save(tmp_path / "pixels.npy", pixels)
    return tmp_path


# Of the fine-tuned network every format is compared with predict when it is written, too.
@pytest.fixture(params=["logreg", pytest.param("finetuned", marks=pytest.mark.long)])
def head(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def exported(head: str, request: pytest.FixtureRequest) -> Path:
    if head == "finetuned":
        return request.getfixturevalue("exported_network").folder
    return request.getfixturevalue("exported_head")


def test_tensorflow_alone_gives_what_predict_gives(
    many_heads: Run, head: str, exported: Path, folder: Path, photographs: list[Path]
) -> None:
    found = json.loads(run_alone(TENSORFLOW, folder, exported, *photographs))
    expected = predicted(many_heads, head, photographs)
    assert np.ptp(expected) > 0.3
    for way in ("by_file", "by_pixels", "by_keras"):
        np.testing.assert_allclose(found[way], expected, atol=1e-4)
    assert found["classes"] == ["blue", "green", "red"]
    assert found["labels"] == [found["classes"][best] for best in expected.argmax(axis=1)]
    assert found["provenance"] == json.loads((exported / "export.json").read_text())["provenance"]
    assert found["provenance"]["head"] == head


def test_onnx_runtime_alone_gives_what_predict_gives(
    many_heads: Run, head: str, exported: Path, folder: Path, photographs: list[Path]
) -> None:
    barred = "tensorflow,keras,onnx"
    found = json.loads(run_alone(ONNX, folder, exported, barred=barred))
    expected = predicted(many_heads, head, photographs)
    np.testing.assert_allclose(found["all"], expected, atol=1e-4)
    np.testing.assert_allclose(found["one"], expected[:1], atol=1e-4)
    facts = json.loads((exported / "export.json").read_text())
    assert found["facts"] == {key: facts[key] for key in ("classes", "provenance")}


def test_the_code_in_the_readme_of_trees_gives_what_predict_gives(
    many_heads: Run, exported_trees: Path, photographs: list[Path], tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(exported_trees, tmp_path / "moved"))
    [code] = examples(moved, photographs)
    assert 10 <= code.count("\n") <= 13
    code += "\nprint(json.dumps([embeddings.tolist(), probabilities.tolist()]))"
    seen, found = json.loads(run_alone(code, moved, barred="sklearn").splitlines()[-1])
    head = load_head(many_heads.trained_folder("lightgbm"))
    with FeatureFile(many_heads.features_path) as features:
        root = Path(features.config.data["folder"])
        rows = [features.table.paths.index(str(path.relative_to(root))) for path in photographs]
        splits = {split: features.load(split)[0] for split in SPLITS}
        cached = np.empty((len(features.table.paths), features.dim), dtype=np.float32)
        for split, X in splits.items():
            cached[features.rows(split)] = X
    assert relative_difference(np.array(seen, np.float32), seen_by(head, cached[rows])) < 1e-4
    # On what the trees were given: elsewhere rounding may lead down another branch.
    columns = np.array(seen, np.float32)
    logits = head.booster_.predict(columns, raw_score=True) + head.scores_.start(columns, 3)
    assert np.ptp(head.scores_.start(columns, 3)) > 0.1
    expected = sharpen(softmax(logits, axis=1).astype(np.float32), head.temperature_)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def examples(folder: Path, photographs: list[Path]) -> list[str]:
    """The code in the README of an export, for these photographs."""
    found = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    return [code.replace('["a.jpg"]', repr(list(map(str, photographs)))) for code in found]


def test_each_example_in_the_readme_gives_what_predict_gives(
    many_heads: Run, exported_head: Path, photographs: list[Path], tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(exported_head, tmp_path / "moved"))
    expected = predicted(many_heads, "logreg", photographs)
    codes = examples(moved, photographs)
    assert len(codes) == 3
    for code in codes:
        shown = "print(json.dumps(np.asarray(PROBABILITIES).tolist()))"
        name = 'found["probabilities"]' if "found" in code else "probabilities"
        code = "import json, numpy as np\n" + code + "\n" + shown.replace("PROBABILITIES", name)
        found = json.loads(run_alone(code, moved, allowed="PIL").splitlines()[-1])
        np.testing.assert_allclose(found, expected, atol=1e-4)


PIXELS = """
import json, sys
import numpy as np
import tensorflow as tf

network = tf.keras.models.load_model(sys.argv[1] + "/model.keras", safe_mode=True)
of_pixels = tf.saved_model.load(sys.argv[1] + "/saved_model").signatures["pixels"]
pixels = np.load("pixels.npy")
ways = {
    "uint8": pixels,
    "int64": pixels.astype(np.int64),
    "float64": pixels.astype(np.float64),
    "divided": pixels / 255,
    "float16": (pixels / 255).astype(np.float16),
    "multiplied": pixels * np.float32(1 / 255),
    # Each image by itself: its answer does not depend on its neighbours.
    "mixed": np.stack([image / (255 if row % 2 else 1) for row, image in enumerate(pixels)]),
}
print(json.dumps({
    name: [np.asarray(network(each)).tolist(), network.predict(each, verbose=0).tolist(),
           of_pixels(pixels=each)["probabilities"].numpy().tolist()]
    for name, each in ways.items()
}))
"""
WRONG_PIXELS = """
import json, sys
import numpy as np
import onnxruntime
import tensorflow as tf

network = tf.keras.models.load_model(sys.argv[1] + "/model.keras", safe_mode=True)
of_pixels = tf.saved_model.load(sys.argv[1] + "/saved_model").signatures["pixels"]
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
pixels = np.load("pixels.npy").astype(np.float32)
nothing = np.full_like(pixels, np.nan)
def refusal(call):
    try:
        call()
    except Exception as error:
        return str(error)
for wrong in (pixels / 127.5 - 1, pixels - 120, pixels * 2, nothing):
    some = np.concatenate([pixels[:1], wrong])
    print(json.dumps([
        np.isnan(np.asarray(network(some))).all(axis=1).tolist(),
        np.isnan(np.asarray(network(some))).any(axis=1).tolist(),
        refusal(lambda: of_pixels(pixels=some)),
        refusal(lambda: session.run(None, {"pixels": pixels / 255})),
    ]))
"""


def test_pixels_that_were_divided_by_255_get_the_same_answer(
    many_heads: Run, exported_head: Path, folder: Path, photographs: list[Path]
) -> None:
    expected = predicted(many_heads, "logreg", photographs)
    found = json.loads(run_alone(PIXELS, folder, exported_head))
    for way, answers in found.items():
        for answer in answers:
            np.testing.assert_allclose(answer, expected, atol=1e-4, err_msg=way)


def test_pixels_in_another_range_are_refused_or_give_nan(exported_head: Path, folder: Path) -> None:
    lines = run_alone(WRONG_PIXELS, folder, exported_head).splitlines()
    assert len(lines) == 4
    for line in lines:
        is_all, is_any, by_saved_model, by_onnx = json.loads(line)
        assert is_all == is_any == [False] + [True] * (len(is_all) - 1)
        assert "expected pixels from 0 to 255" in by_saved_model
        assert "expected: (tensor(uint8))" in by_onnx


def test_what_is_barred_cannot_be_imported(tmp_path: Path) -> None:
    code = """
barred = "headbench headbench.classify.run headbench.cache PIL.Image onnx email.mime.text"
for name in barred.split():
    try:
        __import__(name)
    except ModuleNotFoundError:
        print("barred", name)
"""
    found = run_alone(code + "import email", tmp_path, barred="onnx,email.mime")
    assert found.count("barred") == 6
