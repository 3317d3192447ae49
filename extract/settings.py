"""What a user may choose, and its command-line options."""

from dataclasses import dataclass

from headbench.cache.format import STORES

IMAGENET = "imagenet"
AUTO = "auto"
DEVICES = (AUTO, "cpu", "gpu")
TENSORFLOW, OPENVINO = "tensorflow", "openvino"
ENGINES = (AUTO, TENSORFLOW, OPENVINO)
POOLINGS = ("avg", "max")
FLOAT32, MIXED_FLOAT16 = "float32", "mixed_float16"
PRECISIONS = (AUTO, FLOAT32, MIXED_FLOAT16)


@dataclass(frozen=True)
class Runtime:
    """How a network is run: what decides speed and memory, and no embedding.

    Attributes
    ----------
    device : {"auto", "cpu", "gpu"}
        ``auto``: every GPU that TensorFlow sees, else the CPU.
    engine : {"auto", "tensorflow", "openvino"}
        ``auto``: OpenVINO if it is installed and the network runs on a CPU, else TensorFlow.
    batch_size : int or None
        Images pushed through the network at once; None for what suits the device.
    """

    device: str = AUTO
    engine: str = AUTO
    batch_size: int | None = None


@dataclass(frozen=True)
class ExtractSettings:
    """Settings of an extraction; the command line takes its defaults from here.

    Attributes
    ----------
    weights : str
        ``imagenet``, ``random`` or a path.
    pooling : {"avg", "max"}
        From the last feature map to the embedding.
    precision : {"auto", "float32", "mixed_float16"}
        Arithmetic of the network. ``auto``: that of the file that is there; for a new file
        mixed_float16 (float16 inside, float32 embeddings) on GPUs that gain from it, else float32.
    val_share : float or None
        Share of val where the folder does not name it; None for the usual one.
    device, engine, batch_size
        See `Runtime`.
    store : str
        ``float32`` or ``float16``: how the embeddings are kept.
    overwrite : bool
        Replace a feature file that was made with other settings.
    max_file_mb : int
        Images of more millions of bytes are listed as rejected.
    """

    backbone: str = "resnet50"
    weights: str = IMAGENET
    size_px: int = 224
    pooling: str = POOLINGS[0]
    precision: str = AUTO
    seed: int = 0
    val_share: float | None = None
    device: str = AUTO
    engine: str = AUTO
    batch_size: int | None = None
    store: str = STORES[0]
    overwrite: bool = False
    max_file_mb: int = 512

    @property
    def runtime(self) -> Runtime:
        """How the network is run."""
        return Runtime(self.device, self.engine, self.batch_size)
