"""The server as a process: its address, its start, and its end."""

import errno
import logging
import os
import signal
import socket
from pathlib import Path

import uvicorn
from PIL import _imaging

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import Classifier, open_classifier
from headbench.classify.deployment.server import LOOPBACK, ServerSettings
from headbench.classify.deployment.server.app import create_app
from headbench.classify.deployment.server.serving_engine import (
    Neighbours,
    ServingEngine,
    sample_images,
)
from headbench.classify.deployment.uncertainty import Uncertainty, open_uncertainty
from headbench.classify.errors import RunError
from headbench.classify.labelled_files import images_of
from headbench.classify.run import Run
from headbench.extract.settings import Runtime

LOG = logging.getLogger(__name__)

# For what is being done when the end is asked for.
GRACE_SECONDS = 5
# Of pixels, from the system at a time: glibc gives back at once what is more than 32 MB.
BLOCK_BYTES = 1 << 26


def serve(
    run: Run,
    head: str | None,
    weights: str | None,
    data: str | Path | None,
    settings: ServerSettings,
    runtime: Runtime,
    coverage: float | None,
    false_alarms: float,
) -> None:
    """Answer requests until Ctrl-C or SIGTERM.

    See `open_classifier` for `head`, `weights` and what is raised, `images_of` for `data`,
    `open_uncertainty` for `coverage` and `false_alarms`.
    """
    _imaging.set_block_size(BLOCK_BYTES)
    # Bound before the network is loaded, so that a mistyped port fails at once.
    with bind(settings.host, settings.port) as listener:
        classifier = open_classifier(run, head, weights)
        doubts = open_uncertainty(run, classifier.name, coverage, false_alarms)
        for line in doubts.lines():
            LOG.info(line)
        engine = open_engine(run, classifier, data, settings.max_batch, runtime, doubts)
        server = make_server(engine, settings)
        # The signal that ends it is raised once more at the end: by then all is done.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, server.handle_exit)
        # Not before: a client that connects while the network loads would be cut off by an error.
        listener.listen()
        for line in welcome(settings, listener.getsockname()[1]):
            LOG.info(line)
        server.run(sockets=[listener])
    LOG.info("stopped")


def bind(host: str, port: int) -> socket.socket:
    """A socket that may listen; `RunError` if the address is in use or not of this machine."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        return listener
    except OSError as error:
        listener.close()
        is_used = error.errno == errno.EADDRINUSE
        way_out = "another port with --port" if is_used else "others with --host and --port"
        raise RunError(
            f"{host}, port {port}: the server cannot listen there ({error.strerror}). Choose "
            f"{way_out}."
        ) from error


def open_engine(
    run: Run,
    classifier: Classifier,
    data: str | Path | None,
    max_batch: int,
    runtime: Runtime,
    uncertainty: Uncertainty = Uncertainty(),  # noqa: B008, it is immutable
) -> ServingEngine:
    """Load the network and, for a head, the embeddings of train."""
    with FeatureFile(run.features_path) as features:
        images = images_of(features, data)
        sample = sample_images(features, images)
        neighbours = Neighbours(features, images) if classifier.head else None
    if neighbours is None:
        LOG.info(
            f"{classifier.name}: similar photographs are not shown, because the feature file "
            "has no embeddings by this network"
        )
    elif not neighbours.has_pictures:
        LOG.info(
            f"{images.name}: not found, so similar photographs are shown without pictures; name "
            "the folder with --data"
        )
    return ServingEngine(classifier, neighbours, sample, runtime, max_batch, uncertainty)


def make_server(engine: ServingEngine, settings: ServerSettings) -> uvicorn.Server:
    """The server, to be run on a socket."""
    config = uvicorn.Config(
        create_app(engine, settings),
        # It limits the length of headers itself.
        http="h11",
        # uvicorn counts the connection that asks, too.
        limit_concurrency=settings.max_connections + 1,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def welcome(settings: ServerSettings, port: int) -> list[str]:
    """Address of the server and how to call it; warnings first if other machines may reach it."""
    host = settings.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = []
    if host not in LOOPBACK:
        lines = [
            "WARNING: other machines may reach this server, and it has no authentication.",
            "It answers requests to these names: "
            f"{', '.join(dict.fromkeys(settings.own_names()))}.",
            "Behind a container, NAT or a proxy, users type another name or address. Allow it with "
            "--allowed-hosts NAME; otherwise the server refuses their requests (400).",
        ]
    return [
        *lines,
        f"{address}  (Ctrl-C ends it)",
        f"curl --data-binary @photo.jpg {address}/predict",
    ]
