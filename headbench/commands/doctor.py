"""``headbench doctor``."""

import argparse
from pathlib import Path

from headbench.run_names import RUNS, targets_of
from headbench.terminal import lines_on_stderr, say

IS_SEVERE = 1


def add_doctor(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a folder of images, a run, a Keras model (.keras, .h5), or several of these "
        "(default: the run of the last 'headbench features')",
    )
    command.add_argument(
        "--script-settings",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="what your script does, such as scaling=/255 size=256 validation_split=0.2, "
        "'ImageDataGenerator(rescale=1./255)', or a TOML file of such settings",
    )
    command.add_argument("--out", type=Path, help="folder to write to (default: runs/NAME/doctor)")
    command.add_argument(
        "--format", choices=("text", "json"), default="text", help="(default: text)"
    )


def doctor(arguments: argparse.Namespace) -> int:
    """Print what was found, and write it as a page and as JSON; 1 if anything is severe."""
    from headbench.classify.checked import json_text
    from headbench.classify.doctor.diagnosis_report import (
        JSON_FILE,
        PAGE_FILE,
        as_text,
        write_diagnosis,
    )
    from headbench.classify.doctor.examine import examine, sort_targets
    from headbench.classify.doctor.script import parse_script

    targets = sort_targets(targets_of(arguments.targets))
    script = parse_script(arguments.script_settings)
    with lines_on_stderr():
        diagnosis = examine(targets, script)
    folder = arguments.out or RUNS / targets.name / "doctor"
    write_diagnosis(diagnosis, targets.name, folder)
    if arguments.format == "json":
        say(json_text(diagnosis.as_dict()))
    else:
        say(as_text(diagnosis))
        say(f"\n{folder}: {PAGE_FILE}, {JSON_FILE}")
    return IS_SEVERE if diagnosis.is_severe else 0
