"""The command ``headbench``; a mistyped command or option names the nearest.

Only the verb that is asked for is imported, so that ``--help`` takes no time.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from headbench import terminal

PROGRAM = "headbench"


class Verb(NamedTuple):
    """A command: the module with its functions ``add_VERB`` and ``VERB``, and what it does."""

    module: str
    summary: str


VERBS = {
    "features": Verb("extraction", "stage one: embed the images of a folder, once"),
    "heads": Verb("train", "stage two: train heads on the embeddings, in seconds"),
    "report": Verb("report", "measure the heads on test, and write a page"),
    "open": Verb("report", "show the report in the browser"),
    "finetune": Verb("finetune", "stage three: train the network's last blocks too"),
    "predict": Verb("predict", "classes and probabilities of new images"),
    "similar": Verb("similar", "images like these, or like each other"),
    "suggest": Verb("suggest", "which images to label next: a list to fill in"),
    "export": Verb("export", "write a model that runs without headbench"),
    "serve": Verb("serve", "a page to try photographs on, and an address for programs"),
    "doctor": Verb("doctor", "find why validation accuracy is at chance"),
    "origin": Verb("origin", "show that failure, and what causes it, on your own images"),
    "backbones": Verb("backbones", "which network? try several on a sample of your images"),
    "compare": Verb("report", "compare runs on the same test images"),
    "verify": Verb("extraction", "check whether a file of embeddings is whole"),
    "preset": Verb("origin", "run one of the recipes that headbench came from"),
    "demo": Verb("origin", "run all three stages on handwritten digits"),
}
GROUPS = {
    "the stages": ("features", "heads", "report", "finetune"),
    "use": ("predict", "similar", "suggest", "export", "serve", "open"),
    "examine": ("doctor", "backbones", "compare", "verify", "origin"),
    "try": ("demo", "preset"),
}


class Parser(argparse.ArgumentParser):
    """argparse that names the nearest option or command where one is mistyped."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but what is unknown is an error of this command."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].split("=")[0]
            self.error(f"unknown option {name!r}{_nearest(name, self._option_string_actions)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """End with one line and exit code 2."""
        terminal.say(f"error: {message}. '{self.prog} --help' lists all.", is_stderr=True)
        raise SystemExit(terminal.BAD_INPUT)


def parser(verbs: Iterable[str] = tuple(VERBS)) -> argparse.ArgumentParser:
    """The parser of the command, with the options of `verbs`."""
    main = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND [OPTION ...]",
        description="Run a frozen network once over labelled images, keep the embeddings, then "
        "train and compare classifier heads in seconds.",
        epilog=f"'{PROGRAM} COMMAND --help' explains a command.",
        formatter_class=_formatter,
    )
    main.add_argument("--version", action="version", version=f"{PROGRAM} {_version()}")
    commands = main.add_subparsers(metavar="COMMAND", title="commands", prog=PROGRAM)
    for name in (name for names in GROUPS.values() for name in names):
        command = commands.add_parser(name, help=VERBS[name].summary, description=_sentence(name))
        if name in verbs:
            module = import_module(f"headbench.commands.{VERBS[name].module}")
            getattr(module, f"add_{name}")(command)
            command.set_defaults(function=getattr(module, name if name != "open" else "show"))
    return main


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    verb = given[0] if given else "--help"
    if not verb.startswith("-") and verb not in VERBS:
        Parser(prog=PROGRAM).error(f"unknown command {verb!r}{_nearest(verb, VERBS)}")
    if verb == "serve":
        terminal.exit_on_sigterm()  # before imports that take a second
    arguments = parser([verb]).parse_args(given or ["--help"])
    arguments.line = shlex.join([PROGRAM, *given])
    return int(arguments.function(arguments))


def run_process() -> int:
    """Run the command of this process, or complete it for a shell; returns the exit code."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser())
    return terminal.run(main)


def _formatter(prog: str) -> argparse.HelpFormatter:
    formatter = argparse.RawDescriptionHelpFormatter(prog)
    # argparse forgets that names of commands are indented twice: the longest had its own line.
    formatter._action_max_length = 4 + max(map(len, VERBS))
    return formatter


def _nearest(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, list(known), n=1)
    return f": did you mean {found[0]!r}?" if found else ""


def _sentence(name: str) -> str:
    summary = VERBS[name].summary
    return f"{summary[0].upper()}{summary[1:]}."


def _version() -> str:
    from importlib.metadata import version

    return version(PROGRAM)
