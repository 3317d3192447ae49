"""How pixels reach the network in a model, and what it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from classify.doctor.model.anatomy import Family, Leaf, find_family, first_convolution
from classify.doctor.model.watch import arriving
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
    """

    family: Family | None
    arrives: Mapping[str, Scaling | None]
    declared: str | None

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
    intake = Intake(family, arrives, declared)
    if declared is None and intake.right == "raw":
        return Intake(family, arrives, "raw")
    return intake
