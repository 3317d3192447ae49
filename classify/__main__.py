"""``python -m classify train|report|open|compare|finetune|predict|demo``."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from tqdm import tqdm

from cache import cli
from cache.reader import FeatureFile
from classify.demo import run_demo
from classify.deploy import predict_files
from classify.finetune import FinetuneSettings, finetune
from classify.folds import cross_validate
from classify.heads.registry import HEADS, VOTE
from classify.learning_curve import learning_curve
from classify.predictions import FORMATS
from classify.report.opening import open_report
from classify.report.sentences import describe_curve, describe_folds
from classify.report.text import as_text
from classify.report.versus import as_text as versus_as_text
from classify.report.versus import write_page
from classify.report.write import PAGE, write_report
from classify.run import Run
from classify.settings import DEFAULT_SEED, STREAM, TrainSettings, combine, configured_heads
from classify.train import train_heads
from classify.versus import compare_runs
from extract.options import add_runtime_options, runtime_of

N_TOP = 3
# Options that are parameters of some heads, whole numbers.
COMMON = {
    "max-iter": "logreg: most passes for each strength",
    "max-rounds": "lightgbm: most rounds",
    "max-epochs": "mlp: most epochs",
    "batch-size": "mlp: images in a step",
    "patience": "lightgbm, mlp: rounds or epochs without gain",
}
UNUSABLE_FILES = 1


def parser() -> argparse.ArgumentParser:
    """The command line of stages two and three."""
    parser = argparse.ArgumentParser(
        prog="python -m classify",
        description="Train and compare heads on cached embeddings, fine-tune, predict.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_train, _add_report, _add_looking, _add_finetune, _add_predict, _add_demo):
        add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    arguments.line = shlex.join(
        ["python", "-m", "classify", *(sys.argv[1:] if argv is None else argv)]
    )
    return int(arguments.command(arguments))


def _add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("train", help="fit heads on train, choose on val, save each")
    _add_run(command, _train)
    _add_heads(command)
    command.add_argument("--c-grid", type=float, nargs="+", help="logreg: strengths, ascending")
    for name, meaning in COMMON.items():
        command.add_argument(f"--{name}", type=cli.at_least(1), help=meaning)
    command.add_argument("--refit", action="store_true", help="then fit anew on train and val")
    command.add_argument("--again", action="store_true", help="train what would be reused too")
    command.add_argument(
        "--curve", action="store_true", help="learning curve: 1 to 100 %% of train"
    )
    command.add_argument("--folds", type=cli.at_least(3), help="cross-validate on train and val")
    command.add_argument("--jobs", type=cli.at_least(1), help="fits at a time (default: the cores)")
    command.add_argument(
        "--stream", choices=STREAM, help=f"read the file batch by batch (default {STREAM[0]})"
    )


def _add_heads(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--heads",
        nargs="+",
        help=f"of {', '.join(HEADS)}, mlp-WIDTH-WIDTH; by spaces or commas (default: all)",
    )
    command.add_argument("--seed", type=cli.at_least(0), help=f"default {DEFAULT_SEED}")
    command.add_argument("--class-weight", choices=["balanced"], help="rare classes count as much")
    command.add_argument("--config", type=Path, help="TOML: heads, seed, settings, a table a head")


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("report", help="measure what was trained, and look at it")
    _add_run(command, _report)
    command.add_argument("--head", help="the one whose mistakes are shown (default: best on val)")
    command.add_argument("--data", type=Path, help="folder of images, if it was moved")


def _add_looking(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("open", help="show the report in the browser")
    _add_run(command, _open)
    command = commands.add_parser("compare", help="set two runs side by side")
    command.add_argument("runs", type=Path, nargs=2, metavar="RUN", help="runs/NAME")
    command.set_defaults(command=_compare)


def _add_finetune(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    default = FinetuneSettings()
    command = commands.add_parser(
        "finetune", help="train the last block of the network from the logistic regression on"
    )
    _add_run(command, _finetune)
    _add_weights(command)
    command.add_argument("--data", type=Path, help="folder of images, if it was moved")
    options: list[tuple[str, Callable[[str], object], object]] = [
        ("--epochs", cli.at_least(0), default.epochs),
        ("--learning-rate", float, default.learning_rate),
        ("--batch-size", cli.at_least(1), default.batch_size),
        ("--seed", cli.at_least(0), default.seed),
    ]
    for name, kind, value in options:
        command.add_argument(name, type=kind, default=value, help=f"default {value}")


def _add_predict(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("predict", help="classes and probabilities for image files")
    _add_run(command, _predict)
    _add_weights(command)
    command.add_argument("--images", type=Path, nargs="+", required=True, help="files, folders")
    command.add_argument("--head", help="a trained head or 'finetuned' (default: the best on val)")
    command.add_argument(
        "--top", type=cli.at_least(1), default=N_TOP, help=f"classes a file (default {N_TOP})"
    )
    command.add_argument("--format", choices=FORMATS, default="table", help="default table")
    add_runtime_options(command)


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("demo", help="all three stages on scikit-learn's digits")
    command.add_argument("run", type=Path, help="a folder to make, such as runs/demo")
    command.set_defaults(command=_demo)


def _add_run(command: argparse.ArgumentParser, function: object) -> None:
    command.add_argument("run", type=Path, help="runs/NAME, or the feature file in it")
    command.set_defaults(command=function)


def _add_weights(command: argparse.ArgumentParser) -> None:
    command.add_argument("--weights", help="the backbone's weights, if they were moved")


def _train(arguments: argparse.Namespace) -> int:
    run, (names, seed, settings) = Run(arguments.run), _settings(arguments)
    train_heads(run, names, seed, tqdm.write, settings, arguments.line)
    alone = {
        name: head for name, head in configured_heads(names, seed, settings).items() if name != VOTE
    }
    n_jobs = arguments.jobs or os.cpu_count() or 1
    with FeatureFile(run.features_path) as features:
        if arguments.curve:
            points = learning_curve(run.folder, features, alone, seed, n_jobs, tqdm.write)
            tqdm.write(describe_curve(points))
        if arguments.folds:
            points = cross_validate(
                run.folder, features, alone, arguments.folds, seed, n_jobs, tqdm.write
            )
            tqdm.write(describe_folds(points))
    return 0


def _settings(arguments: argparse.Namespace) -> tuple[list[str], int, TrainSettings]:
    """Names of heads, seed and settings, from the command line and the TOML file."""
    given = {key: value for key, value in vars(arguments).items() if value not in (None, False)}
    if "heads" in given:
        given["heads"] = [name for each in given["heads"] for name in each.split(",") if name]
    return combine(given, given.get("config"))


def _report(arguments: argparse.Namespace) -> int:
    run = Run(arguments.run)
    results = write_report(run, arguments.head, arguments.data, arguments.line)
    print(as_text(results))
    print(f"\n{run.report_folder}: {PAGE}, results.md, results.json")
    return 0


def _open(arguments: argparse.Namespace) -> int:
    open_report(Run(arguments.run))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    first, second = map(Run, arguments.runs)
    versus = compare_runs(first, second)
    print(versus_as_text(versus))
    print(f"\n{write_page(versus, first.report_folder)}")
    return 0


def _finetune(arguments: argparse.Namespace) -> int:
    settings = FinetuneSettings(
        **{field.name: getattr(arguments, field.name) for field in fields(FinetuneSettings)}
    )
    run = Run(arguments.run)
    finetune(run, settings, arguments.data, arguments.weights, tqdm.write, arguments.line)
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    predictions = predict_files(
        Run(arguments.run),
        arguments.images,
        arguments.head,
        arguments.weights,
        arguments.top,
        # Standard output holds nothing but the predictions, so that it can be piped on.
        lambda line: print(line, file=sys.stderr),
        runtime_of(arguments),
    )
    print(FORMATS[arguments.format](predictions))
    is_complete = all(prediction.reason is None for prediction in predictions)
    return 0 if is_complete else UNUSABLE_FILES


def _demo(arguments: argparse.Namespace) -> int:
    run_demo(arguments.run, main, tqdm.write)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
