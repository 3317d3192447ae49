"""What makes two embeddings of the same image the same."""

import hashlib
import json
from dataclasses import asdict, dataclass

RANDOM_WEIGHTS = "random"


@dataclass(frozen=True)
class Identity:
    """Everything that decides an embedding, besides the bytes of its image.

    Batch size, device, engine and file names are absent on purpose: they change an embedding by
    no more than rounding does.

    Attributes
    ----------
    backbone : str
        Name of the network, such as ``resnet50``.
    weights_hash : str
        ``sha256:`` and the digest of the weights file; or ``random:`` and what reproduces the
        weights; or ``none`` for a backbone that has no weights.
    preprocessing : str
        From RGB 0-255 to what the network takes, in words.
    size_px : int
        Height and width of the network's input.
    resize : str
        From the decoded image to `size_px`, in words.
    pooling : str
        From the last feature map to the embedding: ``avg`` or ``max``.
    precision : str
        Arithmetic of the network: ``float32`` or ``mixed_float16``.
    """

    backbone: str
    weights_hash: str
    preprocessing: str
    size_px: int
    resize: str
    pooling: str
    precision: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all items, as 64 hexadecimal digits."""
        canonical = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def has_random_weights(self) -> bool:
        """Whether the network knows nothing: such embeddings are for demos and tests."""
        return self.weights_hash.startswith(RANDOM_WEIGHTS)

    def differences(self, other: "Identity") -> list[str]:
        """One phrase for each item that differs: its name, the value here, the value there."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{key} {mine[key]!r} -> {theirs[key]!r}" for key in mine if mine[key] != theirs[key]
        ]
