"""The networks of keras.applications that headbench knows, one row each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

CAFFE = "caffe: RGB to BGR, minus mean (103.939, 116.779, 123.68), not scaled"
TF = "tf: RGB, / 127.5 - 1"
TORCH = (
    "torch: RGB, / 255, minus mean (0.485, 0.456, 0.406), over standard deviation "
    "(0.229, 0.224, 0.225)"
)
TF_INSIDE = "in the network: RGB, / 127.5 - 1"
TF_128_INSIDE = "in the network: RGB, / 128 - 1"
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
    blocks : tuple of str
        How the name of the first layer of each block begins, from the last block to the second. A
        block ends where the next one begins; fine-tuning trains the last ones.
    imagenet_file : str
        File name of its ImageNet weights in Keras.
    arguments : mapping of str to float
        Further arguments of its function, such as the width of a MobileNet.
    smallest_px : int
        Smallest height and width that it takes.
    holds_in_bfloat16 : bool
        No loss of accuracy was measured in bfloat16, on true weights: ``make bench-precision``.
    """

    source: str
    preprocessing: str
    dim: int
    blocks: tuple[str, ...]
    imagenet_file: str
    arguments: Mapping[str, float] = field(default_factory=dict)
    smallest_px: int = 32
    holds_in_bfloat16: bool = False

    @property
    def module(self) -> str:
        """Name of its module in keras.applications."""
        return self.source.split(".")[0]

    @property
    def application(self) -> str:
        """Name of its function in keras.applications."""
        return self.source.split(".")[1]


TF_KERNELS = "_weights_tf_dim_ordering_tf_kernels"
NOTOP = f"{TF_KERNELS}_notop.h5"
# A new block begins where the feature map halves. DenseNets name their blocks as ResNets do.
RESNET = ("conv5_", "conv4_", "conv3_", "conv2_")
EFFICIENTNET = ("block6", "block5", "block4", "block3", "block2")
MOBILENET = ("conv_pad_12", "conv_pad_6", "conv_pad_4", "conv_pad_2")
MOBILENET_V2 = ("block_13_", "block_6_", "block_3_", "block_1_")
MOBILENET_V3 = ("expanded_conv_12", "expanded_conv_6", "expanded_conv_3", "expanded_conv_1")
XCEPTION = ("block13_", "block4_", "block3_", "block2_")
# The first convolutions of mixed8, of mixed3, of mixed0 and after the first pooling.
INCEPTION = ("conv2d_72", "conv2d_27", "conv2d_8", "conv2d_3")
VGG = ("block5_", "block4_", "block3_", "block2_")


def _efficientnet(size: str, dim: int) -> Network:
    """A row of EfficientNetV2; `size` is ``b0`` to ``b3`` or ``s``."""
    preprocessing = TF_128_INSIDE if size == "s" else TORCH_INSIDE
    source = f"efficientnet_v2.EfficientNetV2{size.upper()}"
    return Network(source, preprocessing, dim, EFFICIENTNET, f"efficientnetv2-{size}_notop.h5")


def _convnext(size: str, dim: int) -> Network:
    """A row of ConvNeXt; `size` is as in the names of its layers, such as ``tiny``."""
    blocks = tuple(f"convnext_{size}_downsampling_block_{number}" for number in (2, 1, 0))
    source = f"convnext.ConvNeXt{size.capitalize()}"
    return Network(source, TORCH_INSIDE, dim, blocks, f"convnext_{size}_notop.h5")


def _mobilenet(alpha: float, in_file: str) -> Network:
    """A row of MobileNet, `alpha` times as wide as the first one; `in_file` is that in Keras."""
    dim, file = int(1024 * alpha), f"mobilenet_{in_file}_224_tf_no_top.h5"
    return Network("mobilenet.MobileNet", TF, dim, MOBILENET, file, {"alpha": alpha})


def _mobilenet_v2(alpha: float) -> Network:
    """A row of MobileNetV2, `alpha` times as wide as the first one."""
    # Its last layer gets no narrower.
    dim = int(1280 * max(alpha, 1.0))
    file = f"mobilenet_v2{TF_KERNELS}_{alpha}_224_no_top.h5"
    return Network("mobilenet_v2.MobileNetV2", TF, dim, MOBILENET_V2, file, {"alpha": alpha})


def _by_width(name: str, rows: Iterable[Network]) -> dict[str, Network]:
    """Rows by name: ``mobilenet`` for the usual width, else ``mobilenet-0.25``."""
    widths = {row.arguments["alpha"]: row for row in rows}
    return {name if width == 1 else f"{name}-{width:g}": row for width, row in widths.items()}


NETWORKS = {
    "resnet50": Network(
        "resnet50.ResNet50", CAFFE, 2048, RESNET, f"resnet50{NOTOP}", holds_in_bfloat16=True
    ),
    "resnet101": Network("resnet.ResNet101", CAFFE, 2048, RESNET, f"resnet101{NOTOP}"),
    "resnet152": Network("resnet.ResNet152", CAFFE, 2048, RESNET, f"resnet152{NOTOP}"),
    "resnet50v2": Network("resnet_v2.ResNet50V2", TF, 2048, RESNET, f"resnet50v2{NOTOP}"),
    "resnet152v2": Network("resnet_v2.ResNet152V2", TF, 2048, RESNET, f"resnet152v2{NOTOP}"),
    "densenet121": Network("densenet.DenseNet121", TORCH, 1024, RESNET, f"densenet121{NOTOP}"),
    "densenet169": Network(
        *("densenet.DenseNet169", TORCH, 1664, RESNET, f"densenet169{NOTOP}"),
        holds_in_bfloat16=True,
    ),
    "densenet201": Network("densenet.DenseNet201", TORCH, 1920, RESNET, f"densenet201{NOTOP}"),
    "efficientnetv2b0": _efficientnet("b0", 1280),
    "efficientnetv2b1": _efficientnet("b1", 1280),
    "efficientnetv2b2": _efficientnet("b2", 1408),
    "efficientnetv2b3": _efficientnet("b3", 1536),
    "efficientnetv2s": _efficientnet("s", 1280),
    "convnexttiny": _convnext("tiny", 768),
    "convnextsmall": _convnext("small", 768),
    "convnextbase": _convnext("base", 1024),
    "mobilenetv3large": Network(
        source="mobilenet_v3.MobileNetV3Large",
        preprocessing=TF_INSIDE,
        dim=960,
        blocks=MOBILENET_V3,
        imagenet_file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    ),
    **_by_width("mobilenetv2", map(_mobilenet_v2, (0.35, 0.5, 0.75, 1.0, 1.3, 1.4))),
    **_by_width("mobilenet", map(_mobilenet, (0.25, 0.5, 0.75, 1.0), ("2_5", "5_0", "7_5", "1_0"))),
    "xception": Network(
        "xception.Xception", TF, 2048, XCEPTION, f"xception{NOTOP}", smallest_px=71
    ),
    "inceptionv3": Network(
        "inception_v3.InceptionV3", TF, 2048, INCEPTION, f"inception_v3{NOTOP}", smallest_px=75
    ),
    "vgg16": Network("vgg16.VGG16", CAFFE, 512, VGG, f"vgg16{NOTOP}"),
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
# Before the name or the folder of a preset of KerasHub.
HUB = "hub:"


def is_own_model(backbone: str) -> bool:
    """Whether a backbone is the file of a Keras model, and not a network's name."""
    return backbone.endswith(OWN_MODEL_ENDINGS) and not is_hub(backbone)


def is_hub(backbone: str) -> bool:
    """Whether a backbone is a preset of KerasHub."""
    return backbone.startswith(HUB)


def declared_as(words: str) -> str:
    """The key of a preprocessing in words; ``raw`` for words of another version of headbench."""
    return next((key for key, its in PREPROCESSINGS.items() if its == words), "raw")
