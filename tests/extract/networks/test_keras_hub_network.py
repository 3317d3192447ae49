"""Presets of KerasHub as backbones: a small network of each family, saved to a folder."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest

from headbench.extract.errors import DataError, WeightsError
from headbench.extract.networks import engines, keras_runtime
from headbench.extract.networks.backbone import create_backbone, reopen_backbone
from headbench.extract.networks.engines import (
    openvino_engine,
    relative_difference,
    tensorflow_engine,
)
from headbench.extract.networks.folding import base_of
from headbench.extract.networks.keras_hub_network import HubNetwork
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import IMAGENET, Runtime
from headbench.extract.stopwatch import Stopwatch
from tests.classify.test_untrusted import KERAS_CONFIGS
from tests.conftest import ROOT, listen
from tests.hub_presets import FAMILIES, OFFSET, SCALE, SIZE_PX, save_preset
from tests.own_models import pictures

IMAGES = pictures(3)
# Class token and registers, before the patches.
N_BEFORE = {"dinov2": 5, "dinov3": 5, "vit": 1, "clip": 1, "siglip": 0}


class Saved(NamedTuple):
    folder: Path
    network: Any
    converter: Any

    def open(self, **options: Any) -> HubNetwork:
        found = create_backbone(f"hub:{self.folder}", IMAGENET, **options)
        assert isinstance(found, HubNetwork)
        return found


# Other families in the quick tests are built in the same way.
ALIKE = ("dinov3", "vit")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.long if name in ALIKE else ()) for name in FAMILIES
    ],
)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("hub") / request.param
    return Saved(folder, *save_preset(request.param, folder))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("hub") / "vit"
    return Saved(folder, *save_preset("vit", folder))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("hub") / "clip"
    return Saved(folder, *save_preset("clip", folder))


def by_hand(saved: Saved) -> dict[str, np.ndarray]:
    """Embeddings by KerasHub's own network and converter, by pooling."""
    saved.converter.image_size = None
    pixels = np.asarray(saved.converter(np.float32(IMAGES)))
    tower, name = getattr(saved.network, "vision_encoder", saved.network), saved.folder.name
    output = np.asarray(
        tower(pixels if name in ("vit", "resnet") else {tower_input(tower): pixels})
    )
    if name == "resnet":
        return {"avg": output.mean(axis=(1, 2)), "max": output.max(axis=(1, 2))}
    if name == "siglip":
        keras = load_keras()
        tokens = keras.Model(tower.inputs[0], tower.get_layer("post_layer_norm").output)(pixels)
        return {"avg": np.asarray(tokens).mean(axis=1), "cls": output}
    patches = output[:, N_BEFORE[name] :]
    assert patches.shape[1] == 16
    cls, avg = output[:, 0], patches.mean(axis=1)
    return {"avg": avg, "max": patches.max(axis=1), "cls": cls, "cls+avg": np.hstack([cls, avg])}


def tower_input(tower: Any) -> str:
    return str(tower.input_names[0] if hasattr(tower, "input_names") else tower.inputs[0].name)


def test_embeddings_are_those_of_keras_hub_in_both_engines(saved: Saved) -> None:
    for pooling, expected in by_hand(saved).items():
        backbone = saved.open(pooling=pooling)
        network = backbone.network()
        assert relative_difference(np.asarray(network(IMAGES)), expected) < 1e-5, pooling
    # The last one has all that the others have.
    assert (backbone.size_px, backbone.dim) == (SIZE_PX, expected.shape[1])
    folded = backbone.folded_network(base_of(network))
    for make in (tensorflow_engine, openvino_engine):
        found = make(lambda: folded).infer(IMAGES)
        assert relative_difference(found, expected) < 1e-5, make


def test_what_a_network_has_no_token_for_is_refused(saved: Saved) -> None:
    if saved.folder.name in ("resnet", "siglip"):
        with pytest.raises(DataError, match=r"has no class token. Take avg or max"):
            saved.open(pooling="cls+avg").base()


def test_its_identity_is_that_of_its_files(vit: Saved) -> None:
    backbone = vit.open()
    identity = backbone.identity
    assert identity.backbone == "hub:ViTBackbone"
    assert identity.preprocessing == f"KerasHub: RGB, 0-255, * {SCALE}, + {OFFSET}"
    assert vit.open(pooling="cls").identity.fingerprint != identity.fingerprint
    assert reopen_backbone(identity, f"hub:{vit.folder}").identity == identity
    assert pickle.loads(pickle.dumps(backbone)).identity == identity  # noqa: S301, our own


def test_a_moved_folder_is_named_by_weights_and_another_one_refused(
    vit: Saved, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(vit.folder, tmp_path / "moved"))
    assert reopen_backbone(vit.open().identity, str(moved)).identity == vit.open().identity
    path = moved / "image_converter.json"
    path.write_text(path.read_text("utf-8").replace(str(SCALE[0]), "0.5"), "utf-8")
    with pytest.raises(WeightsError, match=r"made with another network .*preprocessing"):
        reopen_backbone(vit.open().identity, str(moved))


def test_its_identity_and_size_need_no_tensorflow(vit: Saved) -> None:
    code = f"""
import sys
from headbench.extract.networks.backbone import create_backbone
backbone = create_backbone("hub:{vit.folder}", "imagenet")
assert backbone.identity.weights_hash == "{vit.open().identity.weights_hash}"
assert backbone.size_px == {SIZE_PX}
assert not {{"tensorflow", "keras", "keras_hub"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_layer_inside_is_pooled_without_its_class_token(vit: Saved) -> None:
    tower = vit.network
    tokens = load_keras().Model(tower.input, tower.get_layer("vit_patching_and_embedding").output)
    vit.converter.image_size = None
    inside = np.asarray(tokens(vit.converter(np.float32(IMAGES))))
    backbone = vit.open(layer="vit_patching_and_embedding")
    found = np.asarray(backbone.network()(IMAGES))
    assert relative_difference(found, inside[:, 1:].mean(axis=1)) < 1e-5


def test_another_size_is_taken_or_refused(tmp_path: Path, vit: Saved) -> None:
    save_preset("dinov2", tmp_path)
    base = create_backbone(f"hub:{tmp_path}", IMAGENET, 48).network()
    assert base.input_shape == (None, 48, 48, 3)
    with pytest.raises(DataError, match=r"--size 48: expected a network of 48 px RGB images"):
        vit.open(size_px=48).base()


@pytest.mark.parametrize(
    ("preset", "error", "words"),
    [
        ("dinov2_bas", DataError, "neither a folder nor a preset of KerasHub"),
        ("dinov2_bas", DataError, "Did you mean dinov2_base"),
        ("dinov2_base", WeightsError, "On a machine with a network, in Python: import keras_hub"),
    ],
)
def test_a_preset_that_is_not_here_says_the_way_out(
    preset: str, error: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub

    def fails(*_: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(kagglehub, "model_download", fails)
    with pytest.raises(error, match=re.escape(words)):
        create_backbone(f"hub:{preset}", IMAGENET).identity  # noqa: B018


def test_without_keras_hub_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    keras_runtime.load_keras_hub.cache_clear()
    with pytest.raises(DataError, match=re.escape('pip install "headbench[hub]"')):
        create_backbone("hub:dinov2_base", IMAGENET)
    keras_runtime.load_keras_hub.cache_clear()


def changed(saved: Saved, folder: Path, change: Any) -> Path:
    """The preset with another description."""
    copy = Path(shutil.copytree(saved.folder, folder / "stranger"))
    config = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps(change(config)), "utf-8")
    return copy


@pytest.mark.parametrize("kind", KERAS_CONFIGS)
def test_what_a_stranger_wrote_runs_nothing(
    clip: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    marker = tmp_path / "code was run"
    (tmp_path / "payload_of_a_stranger.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    evil = KERAS_CONFIGS[kind](marker)
    # As the network itself, under its name, and as the tower in it.
    changes = [
        lambda _: evil,
        lambda config: {**config, "config": {**config["config"], "vision_encoder": evil}},
    ]
    if evil:
        name = {"registered_name": "keras_hub>CLIPBackbone"}
        changes.append(lambda config: {**config, **evil, **name})
    for number, change in enumerate(changes):
        (folder := tmp_path / str(number)).mkdir()
        with pytest.raises((WeightsError, DataError)):
            HubNetwork("hub:x", str(changed(clip, folder, change)), SIZE_PX).base()
        assert not marker.exists()


def test_layers_of_more_weights_than_the_file_holds_are_not_built(
    vit: Saved, tmp_path: Path
) -> None:
    def wide(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "config": {**config["config"], "mlp_dim": 10**9}}

    with pytest.raises(WeightsError, match=r"declare \d+ weights, more than fit"):
        HubNetwork("hub:x", str(changed(vit, tmp_path, wide)), SIZE_PX).base()


def test_weights_are_not_read_from_another_file(vit: Saved, tmp_path: Path) -> None:
    copy = changed(vit, tmp_path, lambda config: config)
    with h5py.File(copy / "model.weights.h5", "r+") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(Exception, match="is a link, which headbench does not follow"):
        HubNetwork("hub:x", str(copy), SIZE_PX).base()


def test_an_engine_that_cannot_convert_it_is_not_used_and_that_is_said(
    vit: Saved, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("Check failed: no translator found for Some node.\nand more")

    monkeypatch.setattr(engines, "freeze", fails)
    monkeypatch.setenv("HEADBENCH_CACHE", str(tmp_path))
    said = listen()
    embedder = vit.open().open(Runtime(), IMAGES, Stopwatch())
    assert embedder.infer(IMAGES).shape == (3, 16)
    assert said[0] == (
        "note: OpenVINO is not used. It cannot run this network (Check failed: no translator found "
        "for Some node.)."
    )
