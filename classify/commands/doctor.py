"""``python -m headbench.classify doctor``."""

import argparse
from pathlib import Path

from headbench.cache import cli
from headbench.classify.checked import json_text
from headbench.classify.commands.options import Commands
from headbench.classify.doctor.diagnosis_report import (
    JSON_FILE,
    PAGE_FILE,
    as_text,
    write_diagnosis,
)
from headbench.classify.doctor.examine import examine, sort_targets
from headbench.classify.doctor.script import parse_script

IS_SEVERE = 1


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser("doctor", help="why is my validation accuracy at chance?")
    command.add_argument(
        "targets",
        nargs="+",
        metavar="TARGET",
        help="a folder of images, runs/NAME, a Keras model (.keras, .h5), or several of these",
    )
    command.add_argument(
        "--script-settings",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what your script does, such as scaling=/255 size=256 validation_split=0.2, "
        "'ImageDataGenerator(rescale=1./255)', or a TOML file of such settings",
    )
    command.add_argument("--out", type=Path, help="folder to write to (default runs/NAME/doctor)")
    command.add_argument("--format", choices=("text", "json"), default="text")
    command.set_defaults(command=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Print what was found, and write it as a page and as JSON; 1 if anything is severe."""
    targets = sort_targets(arguments.targets)
    script = parse_script(arguments.script_settings)
    with cli.lines_on_stderr():
        diagnosis = examine(targets, script)
    folder = arguments.out or Path("runs") / targets.name / "doctor"
    write_diagnosis(diagnosis, targets.name, folder)
    if arguments.format == "json":
        cli.say(json_text(diagnosis.as_dict()))
    else:
        cli.say(as_text(diagnosis))
        cli.say(f"\n{folder}: {PAGE_FILE}, {JSON_FILE}")
    return IS_SEVERE if diagnosis.is_severe else 0
