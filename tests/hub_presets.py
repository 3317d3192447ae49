"""Small networks of KerasHub with random weights, each saved to a folder as a preset is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headbench.extract.networks.keras_runtime import (
    load_keras,
    load_keras_hub,
    numbered_from_zero,
)

SIZE_PX = 32
SHAPE = (SIZE_PX, SIZE_PX, 3)
VIT = {"patch_size": 8, "num_layers": 2, "hidden_dim": 16, "num_heads": 2}
SCALE, OFFSET = [0.017, 0.0175, 0.0174], [-2.1, -2.0, -1.8]
TEXT = {
    "vocabulary_size": 20,
    "embedding_dim": 16,
    "hidden_dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "intermediate_dim": 32,
    "max_sequence_length": 5,
}


def dinov2() -> Any:
    """Position embeddings of another size, and registers."""
    sizes = {"image_shape": SHAPE, "position_embedding_shape": (48, 48, 3)}
    return load_keras_hub().models.DINOV2Backbone(
        **VIT, intermediate_dim=32, num_register_tokens=4, **sizes
    )


def dinov3() -> Any:
    return load_keras_hub().models.DINOV3Backbone(**VIT, intermediate_dim=32, image_shape=SHAPE)


def vit() -> Any:
    return load_keras_hub().models.ViTBackbone(
        image_shape=SHAPE, mlp_dim=32, **(VIT | {"patch_size": (8, 8)})
    )


def clip() -> Any:
    models = load_keras_hub().models
    vision = models.CLIPVisionEncoder(**VIT, intermediate_dim=32, image_shape=SHAPE)
    text = models.CLIPTextEncoder(**TEXT)
    return models.CLIPBackbone(vision, text, projection_dim=8)


def siglip() -> Any:
    models = load_keras_hub().models
    vision = models.SigLIPVisionEncoder(**VIT, intermediate_dim=32, image_shape=SHAPE)
    text = models.SigLIPTextEncoder(**TEXT)
    return models.SigLIPBackbone(vision, text)


def resnet() -> Any:
    return load_keras_hub().models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    each.__name__: each for each in (dinov2, dinov3, vit, clip, siglip, resnet)
}


def save_preset(name: str, folder: Path) -> tuple[Any, Any]:
    """Save a small network of a family and its image converter; returns both."""
    load_keras().utils.set_random_seed(0)
    # The folder keeps the names of layers: they must not depend on the tests before.
    with numbered_from_zero():
        backbone = FAMILIES[name]()
    layers = load_keras_hub().layers
    kinds = {each.backbone_cls: each for each in vars(layers).values() if _is_converter(each)}
    converter = kinds[type(backbone)](
        image_size=(SIZE_PX, SIZE_PX), scale=SCALE, offset=OFFSET, interpolation="bicubic"
    )
    backbone.save_to_preset(str(folder))
    converter.save_to_preset(str(folder))
    return backbone, converter


def _is_converter(each: Any) -> bool:
    kind = load_keras_hub().layers.ImageConverter
    return isinstance(each, type) and issubclass(each, kind) and each is not kind
