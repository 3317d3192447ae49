"""What a user may choose for stage one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral

from headbench.cache.format import STORES
from headbench.extract.errors import DataError
from headbench.extract.networks.applications import PREPROCESSINGS, is_hub, is_own_model

IMAGENET = "imagenet"
# Height and width of the images that most networks were trained on.
USUAL_PX = 224
AUTO = "auto"
DEVICES = (AUTO, "cpu", "gpu")
TENSORFLOW, OPENVINO = "tensorflow", "openvino"
ENGINES = (AUTO, TENSORFLOW, OPENVINO)
AVG, MAX, CLS, CLS_AVG = POOLINGS = ("avg", "max", "cls", "cls+avg")
RESIZES = CROP, SQUASH, LETTERBOX, NONE = ("crop", "squash", "letterbox", "none")
VIEWS = ONE, FLIP, FIVE_CROP = ("one", "flip", "5crop")
FLOAT32, BFLOAT16, MIXED_FLOAT16 = "float32", "bfloat16", "mixed_float16"
PRECISIONS = (AUTO, FLOAT32, BFLOAT16, MIXED_FLOAT16)


@dataclass(frozen=True)
class Runtime:
    """How a network is run: this affects speed and memory, not the embeddings.

    Attributes
    ----------
    device : {"auto", "cpu", "gpu"}
        ``auto``: every GPU that TensorFlow sees, else the CPU.
    engine : {"auto", "tensorflow", "openvino"}
        ``auto``: OpenVINO if it is installed and the network runs on a CPU, else TensorFlow.
    batch_size : int or None
        Images in one pass through the network; None for what suits the device.
    """

    device: str = AUTO
    engine: str = AUTO
    batch_size: int | None = None

    def __post_init__(self) -> None:
        _check_choice("device", self.device, DEVICES)
        _check_choice("engine", self.engine, ENGINES)
        if self.batch_size is not None:
            _check_count("batch_size", self.batch_size)


@dataclass(frozen=True)
class ExtractSettings:
    """Settings of an extraction; the command line takes its defaults from here.

    Raises `DataError` for a setting that does not exist.

    Attributes
    ----------
    backbone : str
        A network's name, the path of a Keras model of the user's own, or ``hub:`` and a preset of
        KerasHub or its folder.
    weights : str
        ``imagenet``, ``random`` or a path.
    size_px : int or None
        Height and width of the network's input; None for that of the model, or else 224.
    preprocessing : str or None
        What a model of the user's own was trained with: a key of `PREPROCESSINGS`.
    resize : {"crop", "squash", "letterbox", "none"}
        From a picture of any size to the network's input; see `Resizing`.
    views : {"one", "flip", "5crop"}
        Views of each picture whose embeddings are averaged; see `views_of`.
    pooling : {"avg", "max", "cls", "cls+avg"}
        From the last feature map to the embedding; of a transformer also its class token, alone or
        beside the mean of its patches.
    layer : str
        Layers to cut the network at, joined by commas; empty for its last one. Their outputs are
        pooled, and joined in that order.
    precision : {"auto", "float32", "bfloat16", "mixed_float16"}
        Arithmetic of the network; embeddings are float32. ``auto``: that of an existing file; for a
        new file mixed_float16 (float16 inside) on GPUs that gain from it, bfloat16 on processors
        that have it with networks that were measured to lose no accuracy, else float32.
    val_share : float or None
        Share of the images for val if the data has no val split; None for 0.15, or for 0.2 of
        train if the data has a test split.
    device, engine, batch_size
        See `Runtime`.
    store : str
        ``float32`` or ``float16``: dtype of the stored embeddings.
    overwrite : bool
        Replace a feature file that was made with other settings.
    unlabelled : bool
        The images have no labels: nothing is trained on them. Labels and splits that a list has are
        not read.
    max_file_mb : int
        Larger image files, in millions of bytes, are listed as rejected.
    """

    backbone: str = "resnet50"
    weights: str = IMAGENET
    size_px: int | None = None
    resize: str = CROP
    views: str = ONE
    preprocessing: str | None = None
    pooling: str = POOLINGS[0]
    layer: str = ""
    precision: str = AUTO
    seed: int = 0
    val_share: float | None = None
    device: str = AUTO
    engine: str = AUTO
    batch_size: int | None = None
    store: str = STORES[0]
    overwrite: bool = False
    unlabelled: bool = False
    max_file_mb: int = 512

    def __post_init__(self) -> None:
        if self.size_px is not None:
            _check_count("size", self.size_px)
        if self.preprocessing is not None:
            _check_choice("preprocessing", self.preprocessing, tuple(PREPROCESSINGS))
        _check_choice("resize", self.resize, RESIZES)
        _check_choice("views", self.views, VIEWS)
        if self.views == FIVE_CROP and self.resize != CROP:
            raise DataError(
                f"views {FIVE_CROP} are cut out of a larger square: expected resize {CROP}, found "
                f"{self.resize!r}. Use views {FLIP} with it."
            )
        _check_choice("pooling", self.pooling, POOLINGS)
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("store", self.store, STORES)
        _ = self.runtime  # which checks what it is made of

    @property
    def weights_source(self) -> str:
        """Where the weights are: in the model itself, if it is the user's own or KerasHub's."""
        brings_weights = is_own_model(self.backbone) or is_hub(self.backbone)
        return self.backbone if brings_weights else self.weights

    @property
    def runtime(self) -> Runtime:
        """How the network is run."""
        return Runtime(self.device, self.engine, self.batch_size)


# Options of 'headbench features' that are not called like their setting.
OPTIONS = {"size_px": "size", "max_file_mb": "max-file-size"}


def as_options(settings: ExtractSettings) -> list[str]:
    """The network, and the options of ``headbench features`` that are not at their default.

    Examples
    --------
    >>> as_options(ExtractSettings(size_px=96))
    ['--backbone', 'resnet50', '--size', '96']
    """
    options = []
    for each in fields(settings):
        value = getattr(settings, each.name)
        if value != each.default or each.name == "backbone":
            option = f"--{OPTIONS.get(each.name, each.name.replace('_', '-'))}"
            options += [option] if value is True else [option, str(value)]
    return options


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        expected = " or ".join((", ".join(choices[:-1]), choices[-1]))
        raise DataError(f"{name}: expected {expected}, found {value!r}.")


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, Integral) or value < 1:
        raise DataError(f"{name}: expected a whole number from 1 on, found {value!r}.")
