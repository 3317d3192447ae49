"""The networks of keras.applications that headbench knows, one row each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CAFFE = "caffe: RGB to BGR, minus mean (103.939, 116.779, 123.68), not scaled"
TF = "tf: RGB, / 127.5 - 1"
TORCH = (
    "torch: RGB, / 255, minus mean (0.485, 0.456, 0.406), over standard deviation "
    "(0.229, 0.224, 0.225)"
)
TF_INSIDE = "in the network: RGB, / 127.5 - 1"
TORCH_INSIDE = TORCH.replace("torch", "in the network")


@dataclass(frozen=True)
class Network:
    """Facts about a network.

    Attributes
    ----------
    source : str
        Function of keras.applications, after the module that has its `preprocess_input`.
    preprocessing : str
        What is done to the pixels, in words; part of the fingerprint.
    blocks : tuple of tuple of str
        Beginnings of the names of the layers of each block, from the last block to the first;
        fine-tuning trains the last ones.
    imagenet_file : str
        File name of its ImageNet weights in Keras.
    arguments : mapping of str to float
        Further arguments of its function, such as the width of a MobileNet.
    """

    source: str
    preprocessing: str
    dim: int
    blocks: tuple[tuple[str, ...], ...]
    imagenet_file: str
    arguments: Mapping[str, float] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """Name of its module in keras.applications."""
        return self.source.split(".")[0]

    @property
    def application(self) -> str:
        """Name of its function in keras.applications."""
        return self.source.split(".")[1]


RESNET = (("conv5_",), ("conv4_",), ("conv3_",), ("conv2_",), ("conv1_",))


def _layers_of_mobilenet(first: int, last: int) -> tuple[str, ...]:
    """Beginnings of layer names of a block; its first convolution has a stride of 2."""
    numbers = range(last, first - 1, -1)
    names = (f"conv_{kind}_{number}" for number in numbers for kind in ("dw", "pw"))
    return (*names, f"conv_pad_{first}")


NETWORKS = {
    "resnet50": Network(
        source="resnet50.ResNet50",
        preprocessing=CAFFE,
        dim=2048,
        blocks=RESNET,
        imagenet_file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "resnet101": Network(
        source="resnet.ResNet101",
        preprocessing=CAFFE,
        dim=2048,
        blocks=RESNET,
        imagenet_file="resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "resnet50v2": Network(
        source="resnet_v2.ResNet50V2",
        preprocessing=TF,
        dim=2048,
        blocks=(("conv5_", "post_"), *RESNET[1:]),
        imagenet_file="resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "efficientnetv2b0": Network(
        source="efficientnet_v2.EfficientNetV2B0",
        preprocessing=TORCH_INSIDE,
        dim=1280,
        blocks=(
            ("block6", "top_"),
            ("block5",),
            ("block4",),
            ("block3",),
            ("block2",),
            ("block1", "stem_"),
        ),
        imagenet_file="efficientnetv2-b0_notop.h5",
    ),
    "convnexttiny": Network(
        source="convnext.ConvNeXtTiny",
        preprocessing=TORCH_INSIDE,
        dim=768,
        blocks=(
            ("convnext_tiny_stage_3", "convnext_tiny_downsampling_block_2", "layer_normalization"),
            ("convnext_tiny_stage_2", "convnext_tiny_downsampling_block_1"),
            ("convnext_tiny_stage_1", "convnext_tiny_downsampling_block_0"),
            ("convnext_tiny_stage_0", "convnext_tiny_stem"),
        ),
        imagenet_file="convnext_tiny_notop.h5",
    ),
    "mobilenetv3large": Network(
        source="mobilenet_v3.MobileNetV3Large",
        preprocessing=TF_INSIDE,
        dim=960,
        # By the size of the feature map: 7, 14, 28, 56 and 112 px of 224.
        blocks=(
            ("expanded_conv_12", "expanded_conv_13", "expanded_conv_14", "conv_1"),
            tuple(f"expanded_conv_{number}" for number in range(6, 12)),
            tuple(f"expanded_conv_{number}_" for number in (3, 4, 5)),
            tuple(f"expanded_conv_{number}_" for number in (1, 2)),
            ("expanded_conv_", "conv"),
        ),
        imagenet_file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    ),
    "mobilenet-0.25": Network(
        source="mobilenet.MobileNet",
        preprocessing=TF,
        dim=256,
        blocks=(
            _layers_of_mobilenet(12, 13),
            _layers_of_mobilenet(6, 11),
            _layers_of_mobilenet(4, 5),
            _layers_of_mobilenet(2, 3),
            ("conv",),
        ),
        imagenet_file="mobilenet_2_5_224_tf_no_top.h5",
        arguments={"alpha": 0.25},
    ),
}

MEAN_COLOR = "mean-color"
BACKBONES = (*NETWORKS, MEAN_COLOR)

# What a user may declare of a model of their own, and what that is in words.
PREPROCESSINGS = {
    "caffe": CAFFE,
    "tf": TF,
    "torch": TORCH,
    "0-1": "0-1: RGB, / 255",
    "raw": "raw: RGB, 0-255",
    "inside": "inside: RGB, 0-255, scaled by the model itself",
}
OWN_MODEL = "own-model"
OWN_MODEL_ENDINGS = (".keras", ".h5", ".hdf5")


def is_own_model(backbone: str) -> bool:
    """Whether a backbone is the file of a Keras model, and not a network's name."""
    return backbone.endswith(OWN_MODEL_ENDINGS)
