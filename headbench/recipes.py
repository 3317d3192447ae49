"""The recipes that headbench came from, each as a sequence of its own commands.

Frozen ResNet50 at 256 px with heads of dense layers, Adam at its usual rate; then the same with all
layers, or half of them, trained. What made those recipes fail is not repeated: preprocessing is the
network's own, and its BatchNormalization stays frozen.
"""

import logging
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from headbench.classify.finetuning.finetune_settings import CONSTANT, FinetuneSettings

LOG = logging.getLogger(__name__)

# Beside the recipe's own head, to compare: chance, and what fine-tuning starts from otherwise.
COMPARED = ("prior", "logreg")


@dataclass(frozen=True)
class Preset:
    """A recipe.

    Attributes
    ----------
    head : str
        The head on the frozen network: its layers are those of the recipe.
    val_share : float or None
        Share of val where the folder does not name it.
    unfreeze : str or None
        What trains besides the head, which then begins with new weights; None for nothing.
    """

    head: str
    size_px: int = 256
    val_share: float | None = None
    unfreeze: str | None = None


PRESETS = {
    "origin": Preset("mlp"),
    "origin-unfrozen": Preset("mlp", unfreeze="all"),
    "origin-half": Preset("mlp", unfreeze="half"),
    "origin-128": Preset("mlp-128", val_share=0.4),
}


def preset_commands(
    preset: str, data: str, name: str, weights: str, seed: int, epochs: int | None = None
) -> list[list[str]]:
    """The commands of a recipe, each a list of arguments of ``headbench``.

    Parameters
    ----------
    preset : str
        A key of `PRESETS`.
    data, name : str
        The folder of images; the name of the run.
    weights : str
        The network's: ``imagenet``, ``random`` or a path.
    epochs : int or None
        Of fine-tuning; None for the usual number.
    """
    recipe = PRESETS[preset]
    share = [] if recipe.val_share is None else ["--val-share", str(recipe.val_share)]
    extract = ["features", data, "--name", name, "--weights", weights]
    extract += ["--size", str(recipe.size_px), "--seed", str(seed), *share]
    train = ["heads", name, "--heads", *COMPARED, recipe.head, "--seed", str(seed)]
    commands = [extract, train]
    if recipe.unfreeze:
        n_epochs = FinetuneSettings().epochs if epochs is None else epochs
        options = ["--start", recipe.head, "--fresh", "--schedule", CONSTANT, "--depth-decay", "1"]
        options += ["--no-augment", "--learning-rate", "0.001", "--patience", str(max(n_epochs, 1))]
        options += ["--epochs", str(n_epochs), "--seed", str(seed), "--weights", weights]
        tune = ["finetune", name, "--data", data, "--unfreeze", recipe.unfreeze, *options]
        commands.append(tune)
    return [*commands, ["report", name, "--data", data]]


def run_commands(commands: Iterable[list[str]]) -> None:
    """Run commands one after the other, each shown as a user would type it."""
    from headbench.command_line import main

    for number, arguments in enumerate(commands):
        line_before = "\n" if number else ""
        LOG.info(f"{line_before}$ headbench {shlex.join(arguments)}")
        main(arguments)
