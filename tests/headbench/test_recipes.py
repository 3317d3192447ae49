from dataclasses import replace
from pathlib import Path

import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.run import Run
from headbench.command_line import parser
from headbench.commands.finetune import settings_of
from headbench.recipes import PRESETS, preset_commands
from tests.conftest import write_class_folders
from tests.headbench.command import call


def commands_of(name: str, epochs: int | None = None) -> dict[str, list[str]]:
    commands = preset_commands(name, "photos", "x", "w.h5", 3, epochs)
    return {arguments[0]: arguments for arguments in commands}


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_is_made_of_commands_that_exist_and_works_at_256_px(name: str) -> None:
    commands = commands_of(name)
    known = parser()
    extract = known.parse_args(commands["features"])
    assert (extract.size, extract.weights, extract.seed) == (256, "w.h5", 3)
    assert extract.val_share == (0.4 if name == "origin-128" else None)
    for arguments in commands.values():
        known.parse_args(arguments)
    assert ("finetune" in commands) is name.startswith(("origin-unfrozen", "origin-half"))


def test_the_heads_have_the_layers_of_the_recipe() -> None:
    heads = {name: preset.head for name, preset in PRESETS.items()}
    assert heads == {
        "origin": "mlp",
        "origin-unfrozen": "mlp",
        "origin-half": "mlp",
        "origin-128": "mlp-128",
    }


def test_where_layers_train_the_head_is_new_and_the_rate_the_same_everywhere() -> None:
    arguments = parser().parse_args(commands_of("origin-unfrozen", epochs=4)["finetune"])
    assert FinetuneSettings(**settings_of(arguments)) == FinetuneSettings(
        unfreeze="all",
        start="mlp",
        is_fresh=True,
        epochs=4,
        patience=4,
        learning_rate=1e-3,
        depth_decay=1.0,
        schedule="constant",
        augment=False,
        seed=3,
    )


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("origin-128", {"mlp-128"}),
        pytest.param("origin-half", {"mlp", "finetuned-half-plain"}, marks=pytest.mark.long),
    ],
)
def test_a_recipe_runs_end_to_end(
    name: str,
    trained: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In small: ResNet50 at 256 px takes most of a minute."""
    monkeypatch.setitem(PRESETS, name, replace(PRESETS[name], size_px=48))
    photos = write_class_folders(tmp_path / "photos", n_per_class=16)
    run = Run(tmp_path / "run")
    given = ["preset", name, photos, "--name", run.folder, "--weights", "random"]
    assert call(*given, "--epochs", 1, "--seed", 1) == 0
    assert "test accuracy" in capsys.readouterr().out
    with FeatureFile(run.features_path) as features:
        assert features.identity.size_px == 48
        names = {each.record.name for each in run.trained(features)}
    assert names == {"prior", "logreg"} | trained
    assert (run.report_folder / "index.html").exists()
