"""Networks of KerasHub: presets by name, and folders that KerasHub saved."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from headbench.cache.blocks import open_hdf5
from headbench.cache.untrusted import read_json
from headbench.extract.errors import DataError, WeightsError, loading_model, safe_reason
from headbench.extract.networks.applications import HUB
from headbench.extract.networks.cut import cut_at, inputs_of, pooled
from headbench.extract.networks.keras_network import KerasNetwork
from headbench.extract.networks.keras_runtime import (
    building_at_most,
    load_keras,
    load_keras_hub,
    load_tensorflow,
    numbered_from_zero,
    quiet_keras,
)
from headbench.extract.networks.trunk import depths_by_size, flattened, maker_of
from headbench.extract.networks.weights import Weights, impatient_network
from headbench.extract.settings import AVG, CLS, MAX

CONFIG, CONVERTER = "config.json", "image_converter.json"
# What decides a network, and its preprocessing; of other libraries' folders too.
DESCRIBING = (CONFIG, CONVERTER, "preprocessor_config.json")
WEIGHTS = ("model.weights.h5", "model.weights.json", "model_*.weights.h5", "*.safetensors")
FETCHED = ("model.weights.h5", "model.safetensors")
WAY_OUT = (
    "Expected a folder that KerasHub saved (save_to_preset), with an image network and its image "
    "converter."
)


@dataclass(frozen=True)
class HubNetwork(KerasNetwork):
    """The image network of a preset of KerasHub, without its classifier or text.

    `weights_source` is the name of a preset, its address (``hf://...``) or a folder; ``hub:`` may
    stand before it.
    """

    def __getstate__(self) -> dict[str, Any]:
        folder = Path(self.preset)
        here = replace(self, weights_source=str(folder.absolute())) if folder.is_dir() else self
        return {key: getattr(here, key) for key in self.__dataclass_fields__}

    @property
    def preset(self) -> str:
        """The preset as KerasHub calls it, or a folder."""
        return self.weights_source.removeprefix(HUB)

    @cached_property
    def folder(self) -> Path:
        """The folder of the preset; downloaded if necessary.

        Raises `WeightsError` if it cannot be, `DataError` for an unknown name.
        """
        return Path(self.preset) if Path(self.preset).is_dir() else _fetched(self.preset)

    @cached_property
    def weights(self) -> Weights:
        """The folder, and the hash of its description and weights."""
        digest = hashlib.sha256()
        for path in (*_there(self.folder, DESCRIBING), *_weights_in(self.folder)):
            with path.open("rb") as file:
                part = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name} {part}\n".encode())
        return Weights(self.folder, f"sha256:{digest.hexdigest()}")

    @cached_property
    def converter(self) -> dict[str, Any]:
        """Configuration of the image converter; imports KerasHub for files of other libraries."""
        with loading_model(self.folder, WAY_OUT):
            path = self.folder / CONVERTER
            config = dict(read_json(path)["config"]) if path.exists() else {}
            return config if "image_size" in config else dict(self._converter().get_config())

    def built_dim(self) -> int:
        """Length of an embedding; builds the network."""
        return int(self._built(has_weights=False).output_shape[-1])

    @property
    def preprocessing(self) -> str:
        """What `preprocess` does, in words; in the fingerprint."""
        scale, offset = self.converter.get("scale"), self.converter.get("offset")
        scaled = "" if scale is None else f", * {scale}"
        return f"KerasHub: RGB, 0-255{scaled}{'' if offset is None else f', + {offset}'}"

    def preprocess(self, pixels: Any) -> Any:
        """Keras tensor of pixels, float32 RGB, 0-255, to what `base` takes."""
        ops = load_keras().ops
        scale, offset = self.converter.get("scale"), self.converter.get("offset")
        if scale is not None:
            pixels = pixels * ops.convert_to_tensor(scale, "float32")
        if offset is not None:
            pixels = pixels + ops.convert_to_tensor(offset, "float32")
        return pixels

    def base(self) -> Any:
        """The keras.Model without preprocessing, in float32, with its weights.

        It takes preprocessed pixels, (n, size_px, size_px, 3), and returns (n, dim). Raises
        `WeightsError` if the folder cannot be loaded, or holds no network for images; `DataError`
        for a pooling or a size that it does not have.
        """
        return self._built(has_weights=True)

    def depths_of(self, base: Any) -> dict[str, int]:
        """Block of each layer of `base`, counted from the end: a block halves feature maps."""
        return depths_by_size(base)

    def _built(self, has_weights: bool) -> Any:
        tower = self._tower(has_weights)
        keras = load_keras()
        graph = keras.Model(tower.inputs[0], tower.output, name=type(tower).__name__)
        if graph.input_shape[1] is None:
            graph = flattened(graph, self.size_px)
        layer = self.layer or _last_sequence(graph, self.pooling)
        return cut_at(graph, layer, self.pooling, Tokens.of(tower, graph, self.size_px).pooled)

    def _tower(self, has_weights: bool) -> Any:
        """The image network of the preset; of CLIP and SigLIP the one beside the text's."""
        hub, folder, shape = load_keras_hub(), self.folder, (self.size_px, self.size_px, 3)
        n_bytes = sum(path.stat().st_size for path in _weights_in(folder))
        for path in folder.glob("*.h5"):
            open_hdf5(path, WAY_OUT).close()
        with (
            loading_model(folder, WAY_OUT),
            quiet_keras(),
            building_at_most(n_bytes),
            numbered_from_zero(),
        ):
            self._converter()
            own = read_json(folder / CONFIG)["config"].get("image_shape")
            options = {"image_shape": shape} if own and tuple(own) != shape else {}
            try:
                loaded = hub.models.Backbone.from_preset(
                    str(folder), load_weights=has_weights, **options
                )
            except ValueError as error:
                if options:
                    raise self._wrong_size(f"{own} only ({safe_reason(error)})") from error
                raise
            tower = getattr(loaded, "vision_encoder", None) or loaded
            takes = [tuple(each.shape[1:]) for each in tower.inputs]
            if takes not in ([shape], [(None, None, 3)]):
                raise self._wrong_size(f"{takes}")
        return tower

    def _wrong_size(self, found: str) -> DataError:
        return DataError(
            f"--size {self.size_px}: expected a network of {self.size_px} px RGB images, but "
            f"{self.folder} takes {found}. Leave --size out for its own."
        )

    def _converter(self) -> Any:
        kind = load_keras_hub().layers.ImageConverter
        found = kind.from_preset(str(self.folder))
        if type(found).call is not kind.call:
            raise WeightsError(
                f"{self.folder}: its {type(found).__name__} does more than scale pixels, and "
                "headbench does not know what."
            )
        return found


@dataclass(frozen=True)
class Tokens:
    """The sequences of a transformer: class token, registers, and last the patches.

    Attributes
    ----------
    graph : keras.Model
        From images to the last sequence.
    n_patches : int
        0 for a network without patches.
    """

    graph: Any
    n_patches: int

    @classmethod
    def of(cls, tower: Any, graph: Any, size_px: int) -> "Tokens":
        """The sequences of a network for images of one size."""
        patch = getattr(tower, "patch_size", 0)
        side = patch[0] if isinstance(patch, list | tuple) else patch
        return cls(graph, (size_px // side) ** 2 if side else 0)

    def pooled(self, output: Any, name: str, pooling: str) -> Any:
        """A vector of a layer's output; registers are left out. See `cut.pooled`."""
        n_axes = len(getattr(output, "shape", ()))
        if n_axes == 2:
            return output
        has_tokens = n_axes == 3 and self.n_patches
        n_before = max(0, self._length(output) - self.n_patches) if has_tokens else 0
        kinds = pooling.split("+")
        if CLS in kinds and not n_before:
            raise DataError(
                f"--pooling {pooling}: the output of {name} has no class token. Take {AVG} or "
                f"{MAX}."
            )
        patches = output[:, n_before:] if n_before else output
        vectors = [output[:, 0] if kind == CLS else pooled(patches, name, kind) for kind in kinds]
        if len(vectors) == 1:
            return vectors[0]
        return load_keras().layers.Concatenate(name=f"{name}_tokens")(vectors)

    def _length(self, output: Any) -> int:
        """Number of tokens, by TensorFlow: KerasHub's SigLIP tells Keras one more than it has."""
        tf, part = load_tensorflow(), load_keras().Model(self.graph.input, output)
        images = tf.TensorSpec((1, *self.graph.input_shape[1:]), tf.float32)
        traced = tf.function(lambda pixels: part(pixels, training=False))
        return int(traced.get_concrete_function(images).structured_outputs.shape[1])


def hub_px(preset: str, size_px: int | None) -> int | None:
    """The size that was asked for, else that of the image converter; None if it has none."""
    if size_px:
        return size_px
    size = HubNetwork("", preset, 1).converter.get("image_size")
    if size and size[0] != size[1]:
        raise DataError(f"{preset}: expected square images, found {size}. Name a --size.")
    return int(size[0]) if size else None


def hub_name(preset: str) -> str:
    """Name of the network of a preset in fingerprints, such as ``hub:DINOV2Backbone``."""
    folder = HubNetwork("", preset, 1).folder
    with loading_model(folder, WAY_OUT):
        config = read_json(folder / CONFIG)
        return HUB + str(config.get("class_name") or config.get("model_type") or "network")


def _there(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _weights_in(folder: Path) -> list[Path]:
    found = _there(folder, WEIGHTS)
    if not found or not (folder / CONFIG).is_file():
        raise WeightsError(f"{folder}: found no {CONFIG} and {WEIGHTS[0]} in it. {WAY_OUT}")
    return found


def _last_sequence(graph: Any, pooling: str) -> str:
    """The layer whose output is pooled: the last one; without its own pooling for patches.

    SigLIP pools its patches by attention; that vector takes the place of a class token.
    """
    last = maker_of(graph, graph.output)
    if len(graph.output.shape) == 2 and pooling != CLS:
        last = maker_of(graph, inputs_of(last)[0])
    return str(last.name)


def _fetched(preset: str) -> Path:
    """The folder of a preset that KerasHub downloads, or has downloaded."""
    hub = load_keras_hub()
    known = hub.models.Backbone.presets
    if preset not in known and "://" not in preset:
        close = get_close_matches(preset, known, n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise DataError(
            f"{HUB}{preset}: neither a folder nor a preset of KerasHub "
            f"(it has {len(known)}).{hint} If the folder was moved: --weights FOLDER."
        )
    from keras_hub.src.utils.preset_utils import get_file

    try:
        with impatient_network():
            folder = Path(get_file(preset, CONFIG)).parent
            for name in (CONVERTER, "preprocessor_config.json", *FETCHED):
                with suppress(FileNotFoundError):
                    get_file(preset, name)
            return folder
    except Exception as error:
        # Of Kaggle's, Hugging Face's and of requests: many kinds.
        raise WeightsError(
            f"{HUB}{preset}: cannot be downloaded ({safe_reason(error)}). On a machine with a "
            "network, in Python: import keras_hub; "
            f"keras_hub.models.Backbone.from_preset({preset!r}).save_to_preset('FOLDER'); "
            f"keras_hub.layers.ImageConverter.from_preset({preset!r}).save_to_preset('FOLDER'). "
            f"Copy the folder and name it: --backbone {HUB}FOLDER."
        ) from error
