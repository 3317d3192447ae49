"""Stage one: plan what is missing, run it, commit it."""

from collections.abc import Callable
from pathlib import Path

from cache.disk import require_free, temporary_path
from cache.format import Rejected, Table, count_splits, describe_counts
from cache.lock import one_writer
from cache.parts import Parts
from cache.writer import n_bytes, write_features
from extract.backbones import MEAN_COLOR, Backbone, create_backbone
from extract.dataset import find_images
from extract.devices import GPU, find_devices, has_nvidia_gpu
from extract.errors import UnusableImageError
from extract.hashes import Hashed, Hashes
from extract.machines import LOCAL, Machines
from extract.plan import (
    Known,
    Plan,
    check_table,
    make_plan,
    previous_precision,
    refuse_if_most,
    require_usable,
)
from extract.progress import Progress
from extract.read import ImageFile
from extract.settings import AUTO, FLOAT32, MIXED_FLOAT16, ExtractSettings
from extract.sources.source import Dataset, Source
from extract.work import Job, Outcome
from extract.workers import embed_files

# A killed run loses at most the part in flight.
PART_IMAGES = 512
PART_SECONDS = 30.0
MOST_SAID = 10


def extract_features(
    data: str | Path | Source,
    out: Path,
    settings: ExtractSettings,
    say: Callable[[str], None],
    machines: Machines = Machines(),  # noqa: B008, it is frozen
) -> Table:
    """Make a feature file of images, or bring it up to date.

    Parameters
    ----------
    data : path-like, URL or Source
        See :func:`extract.sources.opening.open_source` for what it may be.
    out : Path
        The feature file, replaced atomically; embeddings that are in it are not computed again.
    settings : ExtractSettings
    say : callable
        Told what happens, a line at a time.
    machines : Machines
        Where images go through the network.

    Returns
    -------
    Table
        What the file holds now.

    Raises
    ------
    DataError, WeightsError, FeatureFileError, StorageError, ClusterError
        For what the user can mend. Parts finished until then are kept.
    """
    backbone, dataset = _open(data, out, settings, say)
    if backbone.identity.has_random_weights:
        say("RANDOM WEIGHTS: this network knows nothing. For demos and tests only.")
    with one_writer(out):
        return _Extraction(backbone, dataset, out, settings, machines, say).run()


def describe_plan(
    data: str | Path | Source,
    out: Path,
    settings: ExtractSettings,
    say: Callable[[str], None],
    machines: Machines = Machines(),  # noqa: B008, it is frozen
) -> None:
    """Say what `extract_features` would do, and write nothing; takes and raises the same."""
    backbone, dataset = _open(data, out, settings, say)
    _Extraction(backbone, dataset, out, settings, machines, say).describe()


def _open(
    data: str | Path | Source, out: Path, settings: ExtractSettings, say: Callable[[str], None]
) -> tuple[Backbone, Dataset]:
    # Before weights are fetched, or GPUs looked for, for a folder that is not there.
    dataset = find_images(data)
    for note in dataset.notes:
        say(f"note: {note}")
    backbone = create_backbone(
        settings.backbone,
        settings.weights,
        settings.size_px,
        settings.pooling,
        _choose_precision(out, settings),
    )
    return backbone, dataset


def _choose_precision(out: Path, settings: ExtractSettings) -> str:
    """What `auto` means here; TensorFlow is imported only where there may be a GPU to ask."""
    if settings.precision != AUTO:
        return settings.precision
    previous = previous_precision(out)
    if previous is not None:
        return previous
    if settings.backbone == MEAN_COLOR or not (settings.device == GPU or has_nvidia_gpu()):
        return FLOAT32
    gains = find_devices(settings.device).gain_from_float16
    return MIXED_FLOAT16 if gains else FLOAT32


class _Extraction:
    """One run: what is there, what is missing, and what becomes of it."""

    def __init__(
        self,
        backbone: Backbone,
        dataset: Dataset,
        out: Path,
        settings: ExtractSettings,
        machines: Machines,
        say: Callable[[str], None],
    ) -> None:
        self.backbone, self.dataset, self.out = backbone, dataset, out
        self.settings, self.machines, self.say = settings, machines, say
        # Other processes may work in other folders.
        self.parts = Parts(out.absolute(), backbone.identity.fingerprint)
        self.known = Known.find(out, backbone.identity, self.parts, settings, say)
        paths = [image.path for image in dataset.images]
        self.hashes = Hashes(dataset.source, paths, out.with_name(f"{out.name}.hashes"))

    def run(self) -> Table:
        """Extract what is missing, and write the file."""
        try:
            if self._reads_first:
                self.hashes.read()
            else:
                self._extract_unread()
        finally:
            self.hashes.keep()  # of an interrupted run too: far away, reading is what takes long
        plan = self._plan()
        self.say(f"{self.dataset.source.name}: {plan}")
        self._require_room(plan)
        self._extract_missing(plan)
        table = plan.table.without(self.known.unusable)
        require_usable(table, self.dataset)
        _say_rejected(table, self.say)
        for warning in check_table(table):
            self.say(f"note: {warning}")
        self._write(table, plan)
        _clear_up(self.out, self.parts, self.say)
        return table

    def describe(self) -> None:
        """Say what `run` would do."""
        if self._reads_first:
            self.hashes.read()
        if n_unread := len(self.hashes.unread):
            self._say_unread(n_unread)
        else:
            self.say(f"{self.dataset.source.name}: {self._plan()}")

    @property
    def _reads_first(self) -> bool:
        """Whether files are hashed here before any is embedded, so that the plan is known first.

        Files far away, or those of a cluster, are read once: hashed and embedded in one go.
        """
        return self.dataset.source.is_near and self.machines.backend == LOCAL

    def _plan(self) -> Plan:
        hashes = self.hashes.complete()
        return make_plan(self.dataset, hashes, self.backbone.identity, self.known, self.settings)

    def _say_unread(self, n_unread: int) -> None:
        name, n_images = self.dataset.source.name, len(self.dataset.images)
        self.say(
            f"{name}: {n_unread} of {n_images} files not read before: to be read, and extracted "
            "where their content is new"
        )

    def _extract_unread(self) -> None:
        unread = self.hashes.unread
        if not unread:
            return
        self._say_unread(len(unread))
        require_free(self.out.parent, len(unread) * 4 * self.backbone.dim)
        images, source = self.dataset.images, self.dataset.source

        def note(outcome: Outcome) -> None:
            found: Hashed = outcome.content or UnusableImageError(outcome.reason)
            self.hashes.found[unread[outcome.row]] = found

        self._embed([source.file(images[row].path) for row in unread], note)

    def _extract_missing(self, plan: Plan) -> None:
        contents, source = list(plan.missing), self.dataset.source

        def note(outcome: Outcome) -> None:
            if outcome.reason:
                self.known.unusable[contents[outcome.row]] = outcome.reason

        self._embed([source.file(path, each) for each, path in plan.missing.items()], note)

    def _embed(self, files: list[ImageFile], note: Callable[[Outcome], None]) -> None:
        """Embed files into parts, here or elsewhere."""
        if not files:
            return
        progress = Progress("extract", len(files))
        rejected: list[Rejected] = []

        def tell(outcome: Outcome) -> None:
            note(outcome)
            if outcome.location is not None:
                self.known.cached[outcome.content] = outcome.location
            elif outcome.reason:
                progress.reject()
                if outcome.content:
                    self.known.unusable[outcome.content] = outcome.reason
                rejected.append(Rejected(str(files[outcome.row].path), outcome.reason))
                refuse_if_most(self.dataset, rejected)
            else:
                progress.update()

        job = Job(
            self.backbone,
            self.settings.size_px,
            self.settings.runtime,
            self.parts,
            PART_IMAGES,
            PART_SECONDS,
            self.backbone.identity,
        )
        with progress:
            how = embed_files(
                job, self.known.cached, files, self.machines, tell, progress.update, self.say
            )
        self.say(f"{progress.summary()}{how}")

    def _require_room(self, plan: Plan) -> None:
        """Room for the parts, and for the new file while the old one is still there."""
        if plan.changes_nothing:
            return
        parts = len(plan.missing) * 4 * self.backbone.dim
        require_free(self.out.parent, parts + n_bytes(plan.table, self.backbone.dim))

    def _write(self, table: Table, plan: Plan) -> None:
        if plan.old is not None and table.equals(plan.old):
            self.say(f"{self.out}: up to date, nothing to do")
        else:
            write_features(self.out, table, self.known.cached, self.backbone.dim)
            self.say(f"{self.out}: {_describe(table, self.backbone.dim)}")


def _clear_up(out: Path, parts: Parts, say: Callable[[str], None]) -> None:
    temporary_path(out).unlink(missing_ok=True)  # of a run that was killed
    parts.remove()
    for folder in parts.others():
        say(
            f"note: {folder}: finished embeddings of an interrupted run with other settings. That "
            "run can go on from them; if it is not wanted any more, delete the folder."
        )


def _say_rejected(table: Table, say: Callable[[str], None]) -> None:
    if table.rejected:
        say(f"{len(table.rejected)} files are left out; all are listed in /rejected of the file:")
    for path, reason, _ in table.rejected[:MOST_SAID]:
        say(f"  {path}: {reason}")
    if len(table.rejected) > MOST_SAID:
        say(f"  ... and {len(table.rejected) - MOST_SAID} more")


def _describe(table: Table, dim: int) -> str:
    in_splits = describe_counts(count_splits(table.splits))
    return (
        f"{len(table.paths)} images ({in_splits}), {len(table.classes)} classes, "
        f"{dim} columns in {table.config.store}, {len(table.rejected)} rejected"
    )
