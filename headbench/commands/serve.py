"""``headbench serve``."""

import argparse
import re
from dataclasses import fields
from importlib.util import find_spec

from headbench.classify.deployment.server import ServerSettings
from headbench.commands.options import (
    Option,
    add_defaults,
    add_doubts,
    add_run,
    add_runtime_options,
    add_shared,
    at_least,
)

LARGEST_PORT = 65535
PACKAGES = ("fastapi", "uvicorn", "python_multipart")


def add_serve(command: argparse.ArgumentParser) -> None:
    """Add the options; their defaults are those of `ServerSettings`."""
    default = ServerSettings()
    add_run(command)
    add_shared(command, "head", "weights", "data")
    add_doubts(command)
    address = command.add_argument_group("address")
    limits = command.add_argument_group("limits")
    where: list[Option] = [
        ("--host", str, default.host, "address to listen on"),
        ("--port", _port, default.port, "0 for any that is free"),
    ]
    how_much: list[Option] = [
        ("--max-mb", at_least(1), default.max_mb, "largest body of a request, in MB"),
        (
            "--max-megapixels",
            at_least(1),
            default.max_megapixels,
            "largest picture in it, in millions of pixels",
        ),
        ("--timeout", at_least(1), default.timeout, "seconds from headers to answer"),
        ("--max-batch", at_least(1), default.max_batch, "most images in the network at once"),
        ("--max-connections", at_least(1), default.max_connections, "connections at once"),
    ]
    add_defaults(address, where)
    address.add_argument(
        "--allowed-hosts",
        nargs="+",
        type=_host,
        default=default.allowed_hosts,
        metavar="NAME",
        help="names in the Host header to answer besides the server's own, as users type them "
        "where it is behind a container, NAT or a proxy",
    )
    add_defaults(limits, how_much)
    add_runtime_options(command, has_batch_size=False)


def serve(arguments: argparse.Namespace) -> int:
    """Answer requests until told to end."""
    _require_packages()
    from headbench.classify.deployment.server import process
    from headbench.classify.run import Run
    from headbench.extract.settings import Runtime
    from headbench.run_names import run_path

    given = vars(arguments) | {"allowed_hosts": tuple(arguments.allowed_hosts)}
    settings = ServerSettings(**{each.name: given[each.name] for each in fields(ServerSettings)})
    runtime = Runtime(arguments.device, arguments.engine)
    run = Run(run_path(arguments.run))
    doubts = (arguments.coverage, arguments.false_alarms)
    process.serve(
        run, arguments.head, arguments.weights, arguments.data, settings, runtime, *doubts
    )
    return 0


def _require_packages() -> None:
    from headbench.classify.errors import RunError

    missing = [each for each in PACKAGES if find_spec(each) is None]
    if missing:
        raise RunError(
            f'serve needs more packages ({", ".join(missing)}): pip install "headbench[serve]".'
        )


def _port(text: str) -> int:
    port = at_least(0)(text)
    if port > LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"expected 0 to {LARGEST_PORT}, found {text!r}")
    return port


def _host(text: str) -> str:
    # As a wildcard Starlette knows "*" and "*.NAME", and ends in an assertion for others.
    if not re.fullmatch(r"\*|(\*\.)?[\w.-]+|[\da-fA-F.]*(:[\da-fA-F.]*){2,}", text):
        raise argparse.ArgumentTypeError(
            f"expected a name or an address, without http:// and without a port, found {text!r}"
        )
    return text
