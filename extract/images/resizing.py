"""From a picture of any size to the square that a network takes: four rules."""

from dataclasses import dataclass, replace

from headbench.cache.format import Identity
from headbench.extract.errors import DataError
from headbench.extract.settings import CROP, FIVE_CROP, LETTERBOX, NONE, RESIZES, SQUASH

# A JPEG is decoded at 1/2, 1/4 or 1/8 as long as the side that shrinks least stays this many times
# as long as it is to be. Largest mean difference from the full decode, in grey levels of one
# photograph (1600 of Food-101, 10 sizes from 16 to 160 px): 2.6 at 2 times, 1.2 at 2.5, 0.91 at
# 2.75 and at 3.
REDUCED_TIMES = 3
# What letterbox leaves empty has the mean colour of ImageNet, red, green and blue: preprocessing
# turns it into about 0, which is what convolutions pad with. White was as accurate: on 1600
# photographs within 0.2 points, with DenseNet169 and MobileNet 0.25.
PADDING = (124, 116, 104)
ONLY = "--resize none takes pictures of"


@dataclass(frozen=True)
class Resizing:
    """How a picture becomes a square.

    Attributes
    ----------
    size_px : int
        Height and width of the square.
    rule : {"crop", "squash", "letterbox", "none"}
        ``crop``: the shorter side is resized to `shorter_px`, then the centre is cut out.
        ``squash``: both sides are resized, so that the aspect ratio is lost. ``letterbox``: the
        longer side is resized, the picture is centred, the rest gets the colour `PADDING`.
        ``none``: pictures of another size are refused.
    has_margin : bool
        Whether ``crop`` leaves a longer shorter side before it cuts.
    """

    size_px: int
    rule: str = CROP
    has_margin: bool = True

    @classmethod
    def for_views(cls, size_px: int, rule: str, views: str) -> "Resizing":
        """What a network of this input size takes; five crops are cut out of a larger square."""
        if views == FIVE_CROP:
            return cls(shorter_side_px(size_px), rule, has_margin=False)
        return cls(size_px, rule)

    @property
    def shorter_px(self) -> int:
        """Length of the shorter side before the crop."""
        return shorter_side_px(self.size_px) if self.has_margin else self.size_px

    @property
    def words(self) -> str:
        """The rule in words; part of the fingerprint, so change it with `decode`."""
        size = f"{self.size_px}x{self.size_px} px"
        how = (
            "antialiased bilinear (Pillow), "
            f"JPEG of {2 * REDUCED_TIMES} times that and more decoded at 1/2, 1/4 or 1/8"
        )
        rules = {
            CROP: f"shorter side to {self.shorter_px} px, {how}; centre crop {size}",
            SQUASH: f"both sides to {self.size_px} px, {how}; aspect ratio not kept",
            LETTERBOX: f"longer side to {self.size_px} px, {how}; "
            f"centred on {size} of RGB {PADDING}",
            NONE: f"not resized: pictures of {size} only",
        }
        return f"EXIF orientation applied; alpha on white; RGB; {rules[self.rule]}"

    @property
    def only(self) -> str:
        """What the rule ``none`` says to a picture of another size."""
        return f"{ONLY} {self.size_px}x{self.size_px} px only"

    def fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """Sides of what is left of a picture of these sides, px, in the same order."""
        if self.rule != LETTERBOX:
            return self.size_px, self.size_px
        scale = self.size_px / max(size)
        first, second = (max(1, round(side * scale)) for side in size)
        return first, second

    def least(self, size: tuple[int, int]) -> tuple[int, int]:
        """Sides that a JPEG of these sides has to keep when it is decoded at a reduced scale."""
        least = REDUCED_TIMES * (self.shorter_px if self.rule == CROP else self.size_px)
        if self.rule == LETTERBOX:  # both sides shrink alike: the longer one is measured
            first, second = (least if side == max(size) else 1 for side in size)
            return first, second
        return least, least

    def enlarged(self) -> "Resizing":
        """The rule for a larger square that random crops are taken from; ``none`` enlarges none."""
        return self if self.rule == NONE else replace(self, size_px=shorter_side_px(self.size_px))

    def still_refuses(self, reason: str) -> bool:
        """Whether a picture that was refused before, perhaps for another rule, is refused now."""
        return ONLY not in reason or (self.rule == NONE and reason.endswith(self.only))


def shorter_side_px(size_px: int) -> int:
    """Length of the shorter side before the crop: 256 for 224, others in proportion."""
    return round(size_px * 256 / 224)


def as_resizing(given: Resizing | int) -> Resizing:
    """The rule; of a mere size the default one."""
    return given if isinstance(given, Resizing) else Resizing(given)


def find_resizing(identity: Identity) -> Resizing | None:
    """The rule that embeddings were made with, found by its words; None for an unknown one."""
    rules = (Resizing.for_views(identity.size_px, rule, identity.views) for rule in RESIZES)
    return next((each for each in rules if each.words == identity.resize), None)


def resizing_of(identity: Identity) -> Resizing:
    """The same; `DataError` for a rule that this version of headbench does not have."""
    found = find_resizing(identity)
    if found is None:
        raise DataError(
            f"The features were made by a resize rule that this version lacks: {identity.resize!r}."
            " Make them again: 'headbench features DATA --overwrite'."
        )
    return found
