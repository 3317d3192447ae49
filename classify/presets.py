"""The recipes that headbench came from, each as a sequence of its own commands.

Frozen ResNet50 at 256 px with heads of dense layers, Adam at its usual rate; then the same with all
layers, or half of them, trained. What made those recipes fail is not repeated: preprocessing is the
network's own, and its BatchNormalization stays frozen.
"""

import logging
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from headbench.classify.finetuning.finetune_settings import CONSTANT, FinetuneSettings
from headbench.extract import __main__ as extract_command

LOG = logging.getLogger(__name__)

Command = Callable[[Sequence[str]], int]
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
    name: str, data: str, run: str, weights: str, seed: int, epochs: int | None = None
) -> list[tuple[str, list[str]]]:
    """The commands of a recipe.

    Parameters
    ----------
    name : str
        A key of `PRESETS`.
    data, run : str
        The folder of images; the folder to make.
    weights : str
        The backbone's: ``imagenet``, ``random`` or a path.
    epochs : int or None
        Of fine-tuning; None for the usual number.

    Returns
    -------
    list of (str, list of str)
        ``extract`` or ``classify``, and its arguments.
    """
    preset = PRESETS[name]
    share = [] if preset.val_share is None else ["--val-share", str(preset.val_share)]
    extract = [data, "--out", f"{run}/features.h5", "--weights", weights]
    extract += ["--size", str(preset.size_px), "--seed", str(seed), *share]
    train = ["train", run, "--heads", *COMPARED, preset.head, "--seed", str(seed)]
    commands = [("extract", extract), ("classify", train)]
    if preset.unfreeze:
        n_epochs = FinetuneSettings().epochs if epochs is None else epochs
        recipe = ["--start", preset.head, "--fresh", "--schedule", CONSTANT, "--depth-decay", "1"]
        recipe += ["--learning-rate", "0.001", "--patience", str(max(n_epochs, 1))]
        recipe += ["--epochs", str(n_epochs), "--seed", str(seed), "--weights", weights]
        tune = ["finetune", run, "--data", data, "--unfreeze", preset.unfreeze, *recipe]
        commands.append(("classify", tune))
    return [*commands, ("classify", ["report", run, "--data", data])]


def run_commands(commands: Iterable[tuple[str, list[str]]], classify: Command) -> None:
    """Run ``extract`` and ``classify`` with their arguments, each shown as a user would type it.

    Parameters
    ----------
    classify : callable
        The command line of stages two and three.
    """
    known = {"extract": extract_command.main, "classify": classify}
    for package, arguments in commands:
        LOG.info(f"\n$ python -m headbench.{package} {shlex.join(arguments)}")
        known[package](arguments)
