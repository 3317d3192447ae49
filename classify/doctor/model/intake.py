"""How pixels reach the network in a model, and what it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from classify.doctor.finding import Finding, not_checked
from classify.doctor.model.anatomy import FAMILIES, Family, Leaf, find_family, first_convolution
from classify.doctor.model.watch import arriving, colors_at
from extract.scalings import SCALINGS, Scaling


@dataclass(frozen=True)
class Intake:
    """How pixels reach the network in a model.

    Attributes
    ----------
    family : Family or None
        Of the network; None if it is none of keras.applications that we know.
    arrives : mapping of str to Scaling or None
        By what is done before the model: what has been done in all when they reach the network.
    declared : str or None
        What is done before the model: by the user's word, or nothing if the model does it all.
    shown : str
        What three colours are when they reach the network, in a sentence.
    """

    family: Family | None
    arrives: Mapping[str, Scaling | None]
    declared: str | None
    shown: str = ""

    @property
    def taken(self) -> Scaling | None:
        """What the network takes."""
        return SCALINGS[self.family.scaling] if self.family else None

    @property
    def right(self) -> str | None:
        """What done before the model gives it that; None if nothing does, or it is not known."""
        return next(
            (name for name, each in self.arrives.items() if each and each == self.taken), None
        )

    @property
    def unknown(self) -> str:
        """Why what arrives cannot be held against what is taken; empty if it can."""
        if self.family is None:
            return (
                "The network is none of those whose pixels we know: "
                f"{', '.join(family.name for family in FAMILIES)}."
            )
        if self.declared and self.arrives[self.declared] is None:
            return "What reaches the network is no scaling that we know."
        if self.own_work is None and self.right is None:
            return "What the model itself does to pixels is no scaling that we know."
        return ""

    @property
    def own_work(self) -> Scaling | None:
        """What the model itself does to pixels; None if it is not known."""
        return self.arrives["raw"]

    @property
    def is_spoilt_inside(self) -> bool:
        """Whether the model itself does what nothing before it makes right again."""
        own = self.own_work
        if own is None or self.taken is None or self.right is not None:
            return False
        return own != SCALINGS["raw"]


def look_at_intake(model: Any, found: list[Leaf], size_px: int, declared: str | None) -> Intake:
    """Find out what reaches the network's first convolution."""
    family, first = find_family(found), first_convolution(found)
    arrives = {
        name: None if first is None else arriving(model, first, size_px, scaling)
        for name, scaling in SCALINGS.items()
    }
    shown = _shown(model, first, size_px, declared or "raw")
    intake = Intake(family, arrives, declared, shown)
    if declared is None and intake.right == "raw":
        return replace(intake, declared="raw")
    return intake


def not_known(intake: Intake) -> Finding:
    """A note that pixels cannot be held against what is taken, and what can be seen of them."""
    takes = (
        f"{intake.family.name} takes {SCALINGS[intake.family.scaling].words}. "
        if intake.family
        else ""
    )
    return not_checked(
        "whether pixels reach the network as it takes them",
        f"{intake.unknown} {takes}{intake.shown}",
        "Hold that against what the documentation of the network asks for.",
    )


def _shown(model: Any, first: Any, size_px: int, given: str) -> str:
    colors = 255 * np.eye(3, dtype=np.uint8)
    became = None if first is None else colors_at(model, first, size_px, SCALINGS[given], colors)
    if became is None:
        return "No convolution of the model sees three channels."
    before = "as they are" if given == "raw" else f"{given} before the model"
    pairs = zip(("red", "green", "blue"), became.tolist(), strict=True)
    numbers = [f"{name} ({', '.join(f'{each:.4g}' for each in color)})" for name, color in pairs]
    return f"Given {before}, colours reach its first convolution as: {'; '.join(numbers)}."
