from pathlib import Path

import pytest

from headbench.classify.doctor.script import ScriptSettings, parse_script
from headbench.classify.errors import RunError
from tests.conftest import listen


def test_pairs_are_read_as_what_they_are() -> None:
    found = parse_script(
        ["scaling=/255", "size=256", "validation_split=0.2", "shuffle=False", "loader=fit"]
    )
    assert found == ScriptSettings(
        scaling="/255", size=256, validation_split=0.2, shuffle=False, loader="fit"
    )


def test_a_toml_file_is_read_and_later_words_win(tmp_path: Path) -> None:
    file = tmp_path / "script.toml"
    file.write_text('scaling = "tf"\nclass_indices = "map.json"\n')
    found = parse_script([str(file), "scaling=raw"])
    assert found == ScriptSettings(scaling="raw", class_indices=Path("map.json"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("scalling=tf", "Did you mean scaling"),
        ("scaling=gbr", "expected one of caffe"),
        ("scaling=preprocess_input", "such as resnet50.preprocess_input"),
        ("scaling=of_my_own.preprocess_input", "found 'of_my_own.preprocess_input'"),
        ("ImageDataGenerator(rescale=1./255", "expected one of"),
        ("ImageDataGenerator(rescale=1./)", "expected Python"),
        ("Rescaling(1./255)", "expected a call of fit or ImageDataGenerator"),
        (
            "ImageDataGenerator(rescale=1./255, preprocessing_function=vgg16.preprocess_input)",
            "scales pixels twice",
        ),
        ("size=big", "expected pixels"),
        ("size=-1", "expected pixels"),
        ("validation_split=2.0", "between 0 and 1"),
        ("from_logits=1", "true or false"),
        ("missing.toml", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(given: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        parse_script([given])


@pytest.mark.parametrize(
    ("written", "scaling"),
    [
        ("scaling=1./255", "/255"),
        ("scaling=1/255.0", "/255"),
        ("rescale=1./255.", "/255"),
        ("rescale=0.00392156862745098", "/255"),
        ("scaling=image / 255", "/255"),
        ("preprocessing_function=lambda x: x/255.", "/255"),
        ("scaling=x/127.5 - 1", "tf"),
        ("scaling=resnet50.preprocess_input", "caffe"),
        ("preprocessing_function=tf.keras.applications.mobilenet_v2.preprocess_input", "tf"),
        ("ImageDataGenerator(rescale=1./255)", "/255"),
        ("image.ImageDataGenerator(preprocessing_function=densenet.preprocess_input)", "torch"),
        (
            "ImageDataGenerator(rescale=1/255, "
            "preprocessing_function=efficientnet.preprocess_input)",
            "/255",
        ),
    ],
)
def test_a_scaling_is_read_as_scripts_write_it(written: str, scaling: str) -> None:
    assert parse_script([written]).scaling == scaling


def test_a_call_of_a_loader_says_its_settings_and_what_is_not_used() -> None:
    said = listen()
    found = parse_script(["ImageDataGenerator(zoom_range=0.2, validation_split=0.2)", "size=96"])
    assert found == ScriptSettings(loader="ImageDataGenerator", validation_split=0.2, size=96)
    assert said == ["note: the doctor does not use these arguments: zoom_range"]
