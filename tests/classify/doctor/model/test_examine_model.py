from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.classify.doctor.finding import Finding, Severity
from headbench.classify.doctor.model.examine_model import examine_model
from headbench.classify.doctor.scalings import SCALINGS
from headbench.classify.doctor.script import ScriptSettings
from headbench.classify.errors import RunError
from headbench.extract.networks.keras_runtime import load_keras
from tests.conftest import write_image

# Of ImageNet, of pixels / 255.
MEAN, VARIANCE = (0.485, 0.456, 0.406), (0.229**2, 0.224**2, 0.225**2)


def examine(
    model: Any, folder: Path, data: Path | None = None, **script: Any
) -> dict[str, Finding]:
    path = folder / "model.keras"
    model.save(path)
    found = examine_model(path, data, ScriptSettings(**script))
    return {finding.code: finding for finding in found.findings}


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and bright pictures."""
    root = tmp_path_factory.mktemp("two")
    for name, level in (("bright", 200), ("dark", 60)):
        for number in range(30):
            write_image(root / f"{name}/{number}.png", number + level, (level,) * 3)
    return root


def mean_brightness(
    activation: str | None = "softmax",
    n_outputs: int = 2,
    sides: tuple[int | None, int | None] = (16, 16),
) -> Any:
    """A model that tells bright from dark, pixels from 0 to 255: worked out by hand."""
    keras = load_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((*sides, 3)),
            layers.Conv2D(3, 1, use_bias=False, name="as_it_is"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(n_outputs, activation=activation),
        ]
    )
    model.layers[0].set_weights([np.eye(3, dtype=np.float32)[None, None]])
    # Of one output: dark is the second class, so that it falls with brightness. Of three: the first
    # is never given, as if labels began at 1.
    kernel = np.array([[0.1, 0.0], [0.0, 0.0], [0.0, 0.0]])
    bias = np.array([-13.0, 0.0])
    weights = {
        1: [-kernel[:, :1], -bias[:1]],
        2: [kernel, bias],
        3: [np.pad(kernel, ((0, 0), (1, 0))), np.array([-99.0, *bias])],
    }
    model.layers[-1].set_weights(weights[n_outputs])
    model.compile("adam", "binary_crossentropy" if n_outputs == 1 else "categorical_crossentropy")
    return model


@pytest.mark.parametrize(
    ("activation", "n_outputs", "sides"),
    [
        ("softmax", 2, (16, 16)),
        ("softmax", 2, (16, 24)),
        ("softmax", 2, (24, 16)),
        ("softmax", 2, (None, 20)),
        ("sigmoid", 1, (16, 16)),
    ],
)
def test_a_sound_model_of_any_sides_and_of_one_output_gets_no_finding(
    two_classes: Path,
    tmp_path: Path,
    activation: str,
    n_outputs: int,
    sides: tuple[int | None, int | None],
) -> None:
    model = mean_brightness(activation, n_outputs, sides)
    found = examine(model, tmp_path, two_classes, scaling="raw", size=16)
    # What a network of the user's own takes is not known.
    assert found.keys() == {"not-checked"}


def test_a_model_that_fails_when_it_is_run_is_one_line_with_the_reason(tmp_path: Path) -> None:
    keras = load_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(2, 5, activation="softmax"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    with pytest.raises(RunError, match=r"fails when it runs .* would be negative") as caught:
        examine(model, tmp_path, size=3)
    assert len(str(caught.value).splitlines()) == 1
    assert str(tmp_path / "model.keras") in str(caught.value)


def test_pixels_of_another_scaling_than_in_training_are_named(
    two_classes: Path, tmp_path: Path
) -> None:
    found = examine(mean_brightness(), tmp_path, two_classes, scaling="/255")
    assert found.keys() == {
        "not-checked",
        "trained-on-another-scaling",
        "one-class-predicted",
        "at-chance",
    }
    finding = found["trained-on-another-scaling"]
    assert "100.0 %" in finding.evidence[0]
    assert "50.0 %" in finding.evidence[0]


def test_unknown_scaling_is_a_note_with_the_accuracy_under_each(
    two_classes: Path, tmp_path: Path
) -> None:
    finding = examine(mean_brightness(), tmp_path, two_classes)["scaling-not-said"]
    assert finding.severity is Severity.NOTE
    assert "most accurate with raw" in finding.what
    assert finding.grid
    assert len(finding.grid.rows) >= len(SCALINGS)


def test_without_images_what_needs_them_is_said_to_be_left_out(tmp_path: Path) -> None:
    found = examine(mean_brightness(None), tmp_path)
    assert found.keys() == {"softmax-missing", "not-checked"}


def test_the_script_s_loss_is_taken(tmp_path: Path) -> None:
    found = examine(mean_brightness(), tmp_path, from_logits=True)
    assert "softmax-twice" in found


def test_what_is_no_classifier_of_images_is_said(tmp_path: Path) -> None:
    keras = load_keras()
    first, second = keras.Input((4,)), keras.Input((4,))
    both = keras.Model([first, second], keras.layers.Add()([first, second]))
    assert "several inputs" in examine(both, tmp_path)["not-checked"].evidence[0]
    grey = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    assert "(None, 8, 8, 1)" in examine(grey, tmp_path)["not-checked"].evidence[0]
    unbuilt = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.warns(UserWarning, match="not yet been built"):
        found = examine(unbuilt, tmp_path)
    assert "before it was built" in found["not-checked"].evidence[0]


def network(names: tuple[str, str, str], inside: Sequence[Any] = ()) -> Any:
    """A small frozen network, known by the names of its layers."""
    keras = load_keras()
    layers = keras.layers
    first, second, third = names
    base = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            *inside,
            layers.Conv2D(4, 3, name=first),
            layers.BatchNormalization(name=second) if "bn" in second else layers.ReLU(name=second),
            layers.Conv2D(4, 3, name=third),
            layers.GlobalAveragePooling2D(),
        ]
    )
    base.trainable = False
    return base


def classifier(base: Any, before: Sequence[Any] = ()) -> Any:
    """A softmax on a network, behind some layers."""
    keras = load_keras()
    head = keras.layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((32, 32, 3)), *before, base, head])


@pytest.mark.parametrize("second", ["block1a_project_conv", "block1a_dwconv"])
@pytest.mark.parametrize(("scaling", "codes"), [("raw", set()), ("/255", {"wrong-scaling"})])
def test_a_network_that_scales_pixels_itself_is_not_to_be_given_scaled_ones(
    tmp_path: Path, scaling: str, codes: set[str], second: str
) -> None:
    layers = load_keras().layers
    inside = [layers.Rescaling(1 / 255), layers.Normalization(mean=MEAN, variance=VARIANCE)]
    names = ("stem_conv", second, "block6h_add")
    found = examine(classifier(network(names, inside)), tmp_path, scaling=scaling)
    others = {"not-checked", "moving-statistics-never-set", "frozen-in-every-epoch"}
    assert found.keys() - others == codes


def resnet_after(before: list[Any]) -> Any:
    """A frozen network, known as a ResNet by its layers, behind some layers."""
    return classifier(network(("conv1_conv", "conv1_bn", "conv2_block1_1_conv")), before)


def test_what_the_model_itself_spoils_is_named_whatever_the_script_does(tmp_path: Path) -> None:
    model = resnet_after([load_keras().layers.Rescaling(1 / 127.5, offset=-1)])
    finding = examine(model, tmp_path)["wrong-scaling"]
    assert finding.what == (
        "The model itself turns pixels into RGB, / 127.5 - 1 before they reach ResNet, which "
        "expects BGR, the mean of ImageNet subtracted, not scaled."
    )
    assert "No preprocessing before the model" in finding.evidence[1]
    mean = load_keras().layers.Normalization(mean=[123.68, 116.779, 103.939], variance=[1.0] * 3)
    finding = examine(resnet_after([mean]), tmp_path)["wrong-scaling"]
    assert "into RGB, the mean of ImageNet subtracted" in finding.what
    assert "expects BGR" in finding.what


def test_that_the_model_does_nothing_to_pixels_is_said_where_it_is_so(tmp_path: Path) -> None:
    finding = examine(resnet_after([]), tmp_path)["not-checked"]
    assert "The model does not preprocess pixels itself." in finding.evidence[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named_and_nothing_is_said_of_answers(
    two_classes: Path, tmp_path: Path, bad: float
) -> None:
    model = mean_brightness()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias * [bad, 1]])
    found = examine(model, tmp_path, two_classes)
    assert list(found) == ["not-finite", "not-checked"]
    assert model.layers[-1].name in found["not-finite"].evidence[0]
    assert found["not-finite"].severity is Severity.SEVERE


def test_pixels_are_judged_although_weights_are_no_numbers(tmp_path: Path) -> None:
    model = resnet_after([])
    model.layers[-1].set_weights([each * np.nan for each in model.layers[-1].get_weights()])
    found = examine(model, tmp_path, scaling="/255")
    assert {"not-finite", "wrong-scaling"} <= found.keys()


@pytest.mark.parametrize(("scaling", "accuracy"), [("raw", "100.0 %"), ("/255", "50.0 %")])
def test_the_accuracy_is_always_printed(
    two_classes: Path, tmp_path: Path, scaling: str, accuracy: str
) -> None:
    path = tmp_path / "model.keras"
    mean_brightness().save(path)
    line = examine_model(path, two_classes, ScriptSettings(scaling=scaling)).examined
    assert f"accuracy {accuracy}" in line
    assert f"on 60 images, pixels {scaling}, in inference mode" in line


def test_labels_that_start_at_1_are_named_and_the_accuracy_is_measured_all_the_same(
    two_classes: Path, tmp_path: Path
) -> None:
    model = mean_brightness(n_outputs=3)
    found = examine(model, tmp_path, two_classes, scaling="raw")
    assert found.keys() == {"not-checked", "wrong-number-of-outputs", "labels-start-at-one"}
    assert "100.0 %" in found["labels-start-at-one"].evidence[0]


def test_a_model_at_chance_under_every_scaling_has_learnt_nothing(
    two_classes: Path, tmp_path: Path
) -> None:
    model = mean_brightness()
    model.layers[0].set_weights([np.zeros((1, 1, 3, 3))])
    found = examine(model, tmp_path, two_classes, scaling="raw")
    assert "learnt-nothing" in found
    assert not {"at-chance", "wrong-scaling", "trained-on-another-scaling"} & found.keys()


def test_outputs_that_are_no_numbers_are_named_though_weights_are(tmp_path: Path) -> None:
    model = mean_brightness(None)
    kernel, bias = model.layers[-1].get_weights()
    # More than float32 holds.
    model.layers[-1].set_weights([kernel * 1e38, bias])
    finding = examine(model, tmp_path)["not-finite"]
    assert finding.severity is Severity.WARNING
    assert "8 of 8 images of noise" in finding.evidence[0]


def test_what_no_scaling_explains_is_shown_by_three_colours(tmp_path: Path) -> None:
    model = resnet_after([load_keras().layers.ReLU(max_value=99)])
    finding = examine(model, tmp_path, scaling="raw")["not-checked"]
    why = finding.evidence[0]
    assert "the network is unknown. ResNet expects BGR" in why
    assert why.endswith("red (99, 0, 0); green (0, 99, 0); blue (0, 0, 99).")


def test_a_network_whose_pixels_are_not_known_is_not_passed_over(tmp_path: Path) -> None:
    model = classifier(network(("a", "b", "c"), [load_keras().layers.Rescaling(1 / 255)]))
    found = examine(model, tmp_path, scaling="/255")
    why = found["not-checked"].evidence[0]
    assert "The network is unknown. Known are ResNet, " in why
    # Divided by 255 once before the model and once inside.
    assert "Given /255 before the model" in why
    assert "red (0.003922, 0, 0)" in why
