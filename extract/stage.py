"""Stage one: plan what is missing, extract it, write the file."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import one_writer, temporary_path
from headbench.cache.format import RANDOM_WEIGHTS, Table, count_splits, describe_counts
from headbench.cache.writer import Parts, gather, write_features
from headbench.extract.contents import (
    Contents,
    Embedding,
    Fates,
    FileContents,
    PythonContents,
)
from headbench.extract.images.resizing import resizing_of
from headbench.extract.images.stream import MB
from headbench.extract.networks.applications import MEAN_COLOR, NETWORKS
from headbench.extract.networks.backbone import Backbone, create_backbone
from headbench.extract.networks.devices import GPU, find_devices
from headbench.extract.networks.engines import cpu_has_bfloat16
from headbench.extract.plan import (
    Known,
    Plan,
    check_listing,
    make_plan,
    previous_precision,
    require_usable,
)
from headbench.extract.sample import Sample
from headbench.extract.settings import (
    AUTO,
    BFLOAT16,
    FLOAT32,
    MIXED_FLOAT16,
    TENSORFLOW,
    ExtractSettings,
)
from headbench.extract.shard_contents import ShardContents
from headbench.extract.sources.open import find_images, open_source
from headbench.extract.sources.python import PythonImages
from headbench.extract.sources.shards import Shards
from headbench.extract.sources.source import Dataset, Source
from headbench.extract.stopwatch import Stopwatch
from headbench.extract.workers.embed import Job, Work
from headbench.extract.workers.machines import LOCAL, Machines
from headbench.extract.workers.parallel import MOST_ROWS

LOG = logging.getLogger(__name__)

# A killed run loses at most the part in flight.
PART_IMAGES = MOST_ROWS
PART_SECONDS = 30.0
MOST_SAID = 10


def extract_features(
    data: str | Path | Source,
    out: Path,
    settings: ExtractSettings,
    machines: Machines = Machines(),  # noqa: B008, it is frozen
) -> Table:
    """Make a feature file of images, or bring it up to date.

    Returns the table of the file. Raises `DataError`, `WeightsError`, `FeatureFileError`,
    `StorageError` or `ClusterError` for what the user can fix; parts finished until then are kept.

    Parameters
    ----------
    data : path-like, URL or Source
        See :func:`headbench.extract.sources.open.open_source` for what it may be.
    out : Path
        The feature file, replaced atomically; its embeddings are not computed again.
    """
    backbone, contents = _open(data, out, settings, machines)
    with one_writer(out):
        return _Extraction(backbone, contents, out, settings, machines).run()


def describe_plan(
    data: str | Path | Source,
    out: Path,
    settings: ExtractSettings,
    machines: Machines = Machines(),  # noqa: B008, it is frozen
) -> None:
    """Log what `extract_features` would do, and write nothing; takes and raises the same."""
    backbone, contents = _open(data, out, settings, machines)
    _Extraction(backbone, contents, out, settings, machines).describe()


def _open(
    data: str | Path | Source, out: Path, settings: ExtractSettings, machines: Machines
) -> tuple[Backbone, Contents]:
    # First, so that a missing folder is reported before weights are downloaded or GPUs looked for.
    contents = _contents_of(data, out, settings)
    return choose_backbone(settings, out, machines), contents


def choose_backbone(
    settings: ExtractSettings,
    out: Path | None = None,
    machines: Machines = Machines(),  # noqa: B008, it is frozen
) -> Backbone:
    """The network of some settings, not loaded; random weights are logged.

    Precision ``auto`` is that of the feature file `out`, or else what suits the device. Raises
    `DataError`, `WeightsError`, `DeviceError`.
    """
    precision = _choose_precision(out, settings, machines)
    backbone = create_backbone(
        settings.backbone,
        settings.weights,
        settings.size_px,
        settings.pooling,
        precision,
        resize=settings.resize,
        layer=settings.layer,
        views=settings.views,
        preprocessing=settings.preprocessing,
    )
    if backbone.identity.has_random_weights:
        LOG.info("RANDOM WEIGHTS: results mean nothing. For demos and tests only.")
    if settings.precision == AUTO and precision == BFLOAT16 and not (out and out.exists()):
        LOG.info(
            "precision bfloat16: about twice as fast on this processor, and no loss of accuracy "
            "was measured with this network. --precision float32 computes more exactly."
        )
    return backbone


def _contents_of(data: str | Path | Source, out: Path, settings: ExtractSettings) -> Contents:
    if isinstance(data, str | Path):
        source = open_source(data, out, has_labels=not settings.unlabelled)
    else:
        source = data
    if isinstance(source, Shards):
        return ShardContents(source)
    if isinstance(source, PythonImages):
        return PythonContents(source)
    return FileContents(list_checked(source, settings), out)


def list_checked(source: Source, settings: ExtractSettings) -> Dataset:
    """The images of a source, and its notes in the log; `DataError` if no run can be made of it."""
    dataset = find_images(source)
    for note in dataset.notes:
        LOG.info(f"note: {note}")
    check_listing(dataset, settings)
    return dataset


def _choose_precision(out: Path | None, settings: ExtractSettings, machines: Machines) -> str:
    """The precision; imports TensorFlow only where there may be a GPU to ask."""
    if settings.precision != AUTO:
        return settings.precision
    if out is not None and (previous := previous_precision(out)) is not None:
        return previous
    if settings.backbone == MEAN_COLOR:
        return FLOAT32
    devices = find_devices(settings.device)
    if devices.kind == GPU:
        return MIXED_FLOAT16 if devices.gain_from_float16 else FLOAT32
    # Workers of a cluster may have other processors than this one.
    is_here = machines.backend == LOCAL
    return BFLOAT16 if is_here and holds_in_bfloat16(settings) and cpu_has_bfloat16() else FLOAT32


def holds_in_bfloat16(settings: ExtractSettings) -> bool:
    """Whether bfloat16 was measured to lose no accuracy with this network, and OpenVINO may run it.

    Random weights were not measured.
    """
    network = NETWORKS.get(settings.backbone)
    is_measured = network is not None and network.holds_in_bfloat16
    return is_measured and settings.weights != RANDOM_WEIGHTS and settings.engine != TENSORFLOW


class Embedded(NamedTuple):
    """A sample and its embeddings.

    Attributes
    ----------
    table : Table
        Of the images that could be used.
    X : float32 (n_images, dim)
    n_new : int
        Number of images that were embedded just now.
    seconds : float
        What the network took for those.
    """

    table: Table
    X: NDArray[np.float32]
    n_new: int
    seconds: float


def embed_sample(
    sample: Sample, backbone: Backbone, out: Path, settings: ExtractSettings
) -> Embedded:
    """Embed the images of a sample that are not embedded yet.

    They are kept as the parts of an unfinished run beside `out`, with which a run of all images
    goes on: no feature file of a sample can be taken for one of all images. Raises what
    `extract_features` raises.
    """
    with one_writer(out):
        embedding = open_embedding(backbone, out, settings)
        job, known, stopwatch = embedding.job, embedding.known, Stopwatch()
        n_known = len(known.cached)
        if files := sample.files({*known.cached, *known.unusable}, job.max_file_bytes):
            with Fates(known, len(files)) as fates:
                Work(job, known.cached, fates, stopwatch).do(files)
                fates.how = f": {stopwatch}"
        lost = {
            content: "changed while the sample was drawn"
            for content in sample.contents
            if content not in known.cached and content not in known.unusable
        }
        table = sample.table(backbone.identity, settings).without(known.unusable | lost)
        if table.rejected:
            path, reason, _ = table.rejected[0]
            LOG.info(f"{len(table.rejected)} images cannot be used, such as {path}: {reason}")
        require_usable(table, sample.dataset)
        X = gather([known.cached[content] for content in table.contents()], backbone.dim)
        n_new = len(known.cached) - n_known
        return Embedded(table, X, n_new, stopwatch.seconds("network"))


def open_embedding(
    backbone: Backbone,
    out: Path,
    settings: ExtractSettings,
    machines: Machines = Machines(),  # noqa: B008, it is frozen
) -> Embedding:
    """What earlier runs left, and how new images are embedded.

    Raises `FeatureFileError` if the file that exists was made with other settings.
    """
    # Other processes may work in other folders.
    parts = Parts(out.absolute(), backbone.identity.fingerprint, settings.store)
    known = Known.find(out, backbone.identity, parts, settings)
    job = Job(
        backbone,
        resizing_of(backbone.identity),
        settings.runtime,
        parts,
        PART_IMAGES,
        PART_SECONDS,
        backbone.identity,
        settings.max_file_mb * MB,
    )
    return Embedding(job, known, machines, backbone)


class _Extraction:
    """One run: what exists, what is missing, and what becomes of it."""

    def __init__(
        self,
        backbone: Backbone,
        contents: Contents,
        out: Path,
        settings: ExtractSettings,
        machines: Machines,
    ) -> None:
        self.backbone, self.contents, self.out = backbone, contents, out
        self.settings = settings
        self.embedding = open_embedding(backbone, out, settings, machines)
        self.known, self.parts = self.embedding.known, self.embedding.job.parts

    def run(self) -> Table:
        """Extract what is missing, and write the file."""
        n_known = len(self.known.cached)
        self.contents.read(self.embedding)
        plan = self._plan()
        _say_rejected(plan.table)
        for warning in plan.warnings:
            LOG.info(f"note: {warning}")
        self._write(plan, n_extracted=len(self.known.cached) - n_known)
        _clear_up(self.out, self.parts)
        return plan.table

    def describe(self) -> None:
        """Log what `run` would do."""
        words = self.contents.ahead(self.embedding) or f"{self.contents.name}: {self._plan()}"
        LOG.info(words)

    def _plan(self) -> Plan:
        return make_plan(*self.contents.held(), self.backbone.identity, self.known, self.settings)

    def _write(self, plan: Plan, n_extracted: int) -> None:
        table = plan.table
        if plan.old is not None and table.equals(plan.old):
            LOG.info(f"{self.out}: up to date, nothing to do")
        else:
            dim = self.backbone.dim
            write_features(self.out, table, self.known.cached, dim)
            LOG.info(f"{self.out}: {_describe(table, dim)}; {plan.describe_done(n_extracted)}")


def _clear_up(out: Path, parts: Parts) -> None:
    temporary_path(out).unlink(missing_ok=True)  # of a run that was killed
    parts.remove()
    for folder in parts.others():
        LOG.info(
            f"note: {folder}: finished embeddings of an interrupted run with other settings. That "
            "run can continue from them. If you do not need them, delete the folder."
        )


def _say_rejected(table: Table) -> None:
    if table.rejected:
        LOG.info(
            f"{len(table.rejected)} files cannot be used; /rejected of the file lists all of them:"
        )
    for path, reason, _ in table.rejected[:MOST_SAID]:
        LOG.info(f"  {path}: {reason}")
    if len(table.rejected) > MOST_SAID:
        LOG.info(f"  ... and {len(table.rejected) - MOST_SAID} more")


def _describe(table: Table, dim: int) -> str:
    in_splits = describe_counts(count_splits(table.splits))
    rejected = f", {len(table.rejected)} rejected" if table.rejected else ""
    classes = f"{len(table.classes)} classes, " if table.classes else ""
    return (
        f"{len(table.paths)} images ({in_splits}), {classes}"
        f"{dim} columns in {table.config.store}{rejected}"
    )
