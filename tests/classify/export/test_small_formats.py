"""TFLite and int8: what they give, what is measured, and what is refused."""

import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.format import Identity
from headbench.classify.errors import RunError
from headbench.classify.export import export_model as module
from headbench.classify.export.agreement import Agreement, require_small_loss
from headbench.classify.export.export_formats import FORMATS
from headbench.classify.export.export_model import export_model
from headbench.classify.export.quantization import spread_over_classes
from headbench.classify.export.tflite_file import open_tflite_file
from headbench.classify.intervals import Estimate
from headbench.classify.run import Run
from headbench.extract.images.decode import decode
from tests.classify.export.alone import run_alone
from tests.classify.export.conftest import predicted
from tests.classify.export.test_alone import examples

SMALL = ("onnx-int8", "tflite", "tflite-float16", "tflite-int8")
LITERT = """
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

pixels, found = np.load("pixels.npy"), {}
for name in ("model", "model-float16", "model-int8"):
    model = Interpreter(f"{sys.argv[1]}/{name}.tflite").get_signature_runner()
    found[name] = [model(pixels=each[None])["probabilities"][0].tolist() for each in pixels]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def small(many_heads: Run) -> Path:
    """Logistic regression in the small formats."""
    folder = many_heads.folder / "small"
    return export_model(many_heads, "logreg", None, None, folder, SMALL, max_loss=100)


def test_litert_alone_gives_what_predict_gives(
    many_heads: Run, small: Path, photographs: list[Path], tmp_path: Path
) -> None:
    np.save(
        tmp_path / "pixels.npy", np.stack([decode(each.read_bytes(), 32) for each in photographs])
    )
    found = json.loads(run_alone(LITERT, tmp_path, small, barred="tensorflow,keras"))
    expected = predicted(many_heads, "logreg", photographs)
    assert np.ptp(expected) > 0.3
    for name, tolerance in (("model", 1e-4), ("model-float16", 2e-2), ("model-int8", 0.2)):
        np.testing.assert_allclose(found[name], expected, atol=tolerance, err_msg=name)
    assert np.abs(np.array(found["model-int8"]) - expected).max() > 1e-4


def test_each_example_in_the_readme_runs_and_gives_predicts_classes(
    many_heads: Run, small: Path, photographs: list[Path]
) -> None:
    expected = predicted(many_heads, "logreg", photographs)
    codes = examples(small, photographs)
    assert len(codes) == len(SMALL)
    for code in codes:
        shown = code + "\nprint(json.dumps(np.asarray(probabilities).tolist()))"
        found = json.loads(run_alone(shown, small, allowed="PIL").splitlines()[-1])
        np.testing.assert_allclose(found, expected, atol=0.2)


def test_names_of_the_classes_are_in_the_file(small: Path) -> None:
    facts = json.loads((small / "export.json").read_text())
    for name in SMALL[1:]:
        with zipfile.ZipFile(small / FORMATS[name].file) as archive:
            assert archive.read("labels.txt").decode().split() == facts["classes"]
            assert json.loads(archive.read("headbench.json"))["classes"] == facts["classes"]


def test_int8_keeps_the_head_in_float32_and_shrinks_the_network(small: Path) -> None:
    import onnx

    graph = onnx.load(small / "model-int8.onnx").graph
    types = {each.name: each.data_type for each in graph.initializer}
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["QuantizeLinear"] > 20
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    assert [types[node.input[1]] for node in products] == [onnx.TensorProto.FLOAT]
    sizes = {name: (small / FORMATS[name].file).stat().st_size for name in SMALL}
    assert sizes["tflite-float16"] < 0.6 * sizes["tflite"]
    assert max(sizes["tflite-int8"], sizes["onnx-int8"]) < 0.5 * sizes["tflite"]


def test_metadata_survives_int8(small: Path) -> None:
    import onnxruntime

    metadata = onnxruntime.InferenceSession(small / "model-int8.onnx").get_modelmeta()
    facts = json.loads((small / "export.json").read_text())
    assert json.loads(metadata.custom_metadata_map["classes"]) == facts["classes"]


def test_what_was_measured_stands_in_json_and_in_the_readme(small: Path) -> None:
    measured = json.loads((small / "export.json").read_text())["measured"]
    assert list(measured) == [*SMALL]
    exact = measured["tflite"]
    assert exact["agreement"][0] == 1
    assert exact["accuracy"][3] == exact["loss"][3] == 7
    assert exact["n_bytes"] == (small / "model.tflite").stat().st_size
    assert exact["milliseconds"] > 0
    line = rf"- model.tflite: [\d.]+ [kM]B, agreement 100.0 %.*n = {exact['accuracy'][3]}\n"
    assert re.search(line, (small / "README.md").read_text())


def lossy(points: float) -> dict[str, Agreement]:
    one = Estimate(1.0, 0.9, 1.0, 200)
    return {"tflite-int8": Agreement(1, one, one, Estimate(points / 100, -0.1, 0.3, 200), 1.0)}


def test_a_format_that_loses_more_than_is_allowed_is_refused() -> None:
    require_small_loss(lossy(2.0), 2.0)
    require_small_loss(lossy(-5.0), 0.0)
    with pytest.raises(RunError, match=r"model-int8.tflite: .* at most 2 points .*--max-loss 3\."):
        require_small_loss(lossy(2.5), 2.0)


def test_a_refused_format_is_not_left_behind(
    many_heads: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_answer(path: Path) -> object:
        call = open_tflite_file(path)
        return lambda pixels: call(pixels) * 0 + np.float32([[1, 0, 0]])

    wrong = FORMATS["tflite-float16"]._replace(open=one_answer)
    monkeypatch.setitem(FORMATS, "tflite-float16", wrong)
    with pytest.raises(RunError, match=r"expected a loss of at most 2 points.*Nothing was written"):
        export_model(many_heads, "logreg", None, None, tmp_path / "out", ["tflite-float16"], 2.0)
    assert list(tmp_path.iterdir()) == []


def test_int8_without_images_says_what_it_needs(many_heads: Run, tmp_path: Path) -> None:
    for name in ("tflite-int8", "onnx-int8"):
        with pytest.raises(RunError, match="Name their folder with --data"):
            export_model(many_heads, "logreg", None, tmp_path / "gone", tmp_path / "out", [name])
    assert list(tmp_path.iterdir()) == []


def test_trees_are_not_given_rounded_numbers(many_heads: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="lightgbm decides by thresholds"):
        export_model(many_heads, "lightgbm", None, None, tmp_path / "out", ["tflite-int8"])


def test_a_file_that_litert_cannot_run_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"no model" * 9)
    with pytest.raises(RunError, match=r"model.tflite: LiteRT cannot run it: .*--formats"):
        open_tflite_file(tmp_path / "model.tflite")


def test_an_unknown_format_names_those_that_there_are(many_heads: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--formats coreml: expected one of saved_model, keras"):
        export_model(many_heads, "logreg", None, None, tmp_path / "out", ["coreml"])


def test_a_sample_has_each_class_by_its_share_and_is_the_same_every_time() -> None:
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [700, 200, 100]))
    rows = spread_over_classes(labels, 100)
    assert np.abs(np.bincount(labels[rows]) - [70, 20, 10]).max() <= 1
    assert len(set(rows.tolist())) == 100
    assert (rows == spread_over_classes(labels, 100)).all()
    assert spread_over_classes(labels[:5], 100).tolist() == [0, 1, 2, 3, 4]


def test_the_card_says_what_is_known_and_names_no_path(many_heads: Run, small: Path) -> None:
    text = (small / "MODEL_CARD.md").read_text()
    provenance = json.loads((small / "export.json").read_text())["provenance"]
    identity = provenance["features"]
    assert identity["weights_hash"] in text
    assert "| red | " in text
    assert "Licence of the weights and of the data: unknown" in text
    assert "    headbench features photos --name " in text
    assert str(many_heads.folder.parent) not in text
    assert "n = 7" in text


def test_random_weights_are_said_at_the_top_of_both_texts(
    many_heads: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Identity, "has_random_weights", property(lambda _: True))
    monkeypatch.setattr(module, "draw_sample", lambda *_: None)
    export_model(many_heads, "logreg", None, None, tmp_path / "out", ["keras"])
    for name in ("README.md", "MODEL_CARD.md"):
        text = (tmp_path / "out" / name).read_text()
        assert text.splitlines()[2].startswith("**RANDOM WEIGHTS: the network was not trained.")
