"""Every stage as a call, for notebooks, scripts and the command line."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.cache.progress import showing_progress
from headbench.classify.deployment import FALSE_ALARMS, N_SIMILAR, N_SUGGESTED, N_TOP
from headbench.classify.export import MAX_LOSS
from headbench.extract.networks.applications import is_own_model
from headbench.extract.settings import ExtractSettings
from headbench.extract.workers.machines import Machines
from headbench.run_names import (
    name_of,
    network_name,
    new_run_path,
    remember,
    run_path,
    stored_run,
    targets_of,
)
from headbench.shown import (
    Comparison,
    Findings,
    Heads,
    Networks,
    Predictions,
    Report,
    Similar,
    Suggestions,
)

# Imported where they are used: a notebook that only predicts waits for no other stage.
if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from headbench.cache.reader import FeatureFile
    from headbench.cache.verify import Inspection
    from headbench.classify.run import Trained
    from headbench.extract.rerun import Rerun

LOG = logging.getLogger(__name__)

_DEFAULT = ExtractSettings()
_MACHINES = Machines()
# Of `backbones`.
SAMPLE, FOLDS = 1000, 5


@showing_progress()
def features(
    data: Any,
    name: str | None = None,
    *,
    size: int | None = _DEFAULT.size_px,
    resize: str = _DEFAULT.resize,
    views: str = _DEFAULT.views,
    backbone: str = _DEFAULT.backbone,
    weights: str = _DEFAULT.weights,
    preprocessing: str | None = _DEFAULT.preprocessing,
    pooling: str = _DEFAULT.pooling,
    layer: str = _DEFAULT.layer,
    precision: str = _DEFAULT.precision,
    seed: int = _DEFAULT.seed,
    val_share: float | None = _DEFAULT.val_share,
    device: str = _DEFAULT.device,
    engine: str = _DEFAULT.engine,
    batch_size: int | None = _DEFAULT.batch_size,
    store: str = _DEFAULT.store,
    max_file_size: int = _DEFAULT.max_file_mb,
    overwrite: bool = _DEFAULT.overwrite,
    unlabelled: bool = _DEFAULT.unlabelled,
    jobs: int = _MACHINES.n_jobs,
    backend: str = _MACHINES.backend,
    scheduler: str | None = _MACHINES.scheduler,
    dry_run: bool = False,
) -> "Run":
    """Stage one: embed the images in `data` that are not embedded yet.

    Parameters
    ----------
    data : str, Path or Source
        A folder of labelled images, a list, tar shards, or what
        `headbench.extract.sources.python.images` makes of any iterable.
    name : str, optional
        Name of the run: a folder in ``runs/``, or with a ``/`` in it the folder itself. By default
        the name of the folder of images.
    size : int, optional
        Height and width of the network's input, in pixels; by default that of the model, or 224.
    resize : {"crop", "squash", "letterbox", "none"}
        From an image of any size to the network's input: cut out the centre; change the aspect
        ratio; keep all of it in a frame; or take only images that have the size.
    views : {"one", "flip", "5crop"}
        Views of each image whose embeddings are averaged: the image; also its mirror image; or the
        four corners and the centre of what ``crop`` leaves.
    backbone : str
        The network, such as ``resnet50``, the path of a Keras model of your own, or a preset of
        KerasHub, such as ``hub:dinov2_base``.
    weights : str
        ``imagenet``, ``random`` or a path.
    preprocessing : {"caffe", "tf", "torch", "0-1", "raw", "inside"}, optional
        How pixels were scaled when a model of your own was trained; required for one.
    pooling : {"avg", "max", "cls", "cls+avg"}
        From the last feature map to the embedding; ``cls``: a transformer's class token.
    layer : str
        Layers to cut the network at, joined by commas; by default its last one.
    precision : {"auto", "float32", "bfloat16", "mixed_float16"}
        Arithmetic of the network; embeddings are float32.
    seed : int
        Of the split.
    val_share : float, optional
        Share of val, 0 to 1, where `data` does not name it.
    device : {"auto", "cpu", "gpu"}
        ``auto``: every GPU that TensorFlow sees, else the CPU.
    engine : {"auto", "tensorflow", "openvino"}
        ``auto``: OpenVINO on a CPU, if it is installed, else TensorFlow.
    batch_size : int, optional
        Images at once; by default what suits the device.
    store : {"float32", "float16"}
        How embeddings are kept.
    max_file_size : int
        Larger image files, in MB, are listed as rejected.
    overwrite : bool
        Replace features that were made with other settings.
    unlabelled : bool
        The images have no labels: `data` is a folder of any structure, or a list without a column
        ``label``. `Run.predict`, `Run.similar` and `Run.suggest` use such a run.
    jobs : int
        Processes on this machine.
    backend : {"local", "dask"}
        ``dask``: the workers of a running cluster.
    scheduler : str, optional
        Address of that cluster, such as ``tcp://10.0.0.1:8786``.
    dry_run : bool
        Log what would be done, and write nothing.

    Returns
    -------
    Run

    Raises
    ------
    HeadbenchError
        For what the user can fix.
    """
    from headbench.extract.stage import describe_plan, extract_features

    settings = ExtractSettings(
        backbone=backbone,
        weights=weights,
        size_px=size,
        resize=resize,
        views=views,
        preprocessing=preprocessing,
        pooling=pooling,
        layer=layer,
        precision=precision,
        seed=seed,
        val_share=val_share,
        device=device,
        engine=engine,
        batch_size=batch_size,
        store=store,
        overwrite=overwrite,
        unlabelled=unlabelled,
        max_file_mb=max_file_size,
    )
    path = new_run_path(name or name_of(str(data)))
    run = Run(path)
    work = describe_plan if dry_run else extract_features
    before = _stamp(run.features_path)
    work(data, run.features_path, settings, Machines(jobs, backend, scheduler))
    if unlabelled:
        # The last run stays the one whose heads are used on these images.
        return run
    if not dry_run:
        remember(path)
    if is_own_model(backbone) and _stamp(run.features_path) != before:
        run._warn_of_scaling(data)
    return run


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None if there is none."""
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


class Run:
    """A run: the embeddings of some images, and what was made of them.

    Parameters
    ----------
    name : str or Path, optional
        A name in ``runs/``, the folder of a run, or its feature file; a `Path` is taken as it is.
        By default the run of the last `features`.
    command : str
        The command line, kept in the record of what is trained; empty in a notebook.
    """

    def __init__(self, name: str | Path | None = None, command: str = "") -> None:
        from headbench.classify.run import Run as Folder

        self._run = Folder(name if isinstance(name, Path) else run_path(name))
        self._command = command

    def __str__(self) -> str:
        return self._run.name

    def __repr__(self) -> str:
        return f"Run({str(self._run.folder)!r})"

    def _repr_html_(self) -> str:
        return self.trained()._repr_html_()

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self._run.folder

    @property
    def features_path(self) -> Path:
        """The HDF5 file of embeddings."""
        return self._run.features_path

    def open_features(self) -> "FeatureFile":
        """The feature file, opened for reading; to be used in a ``with`` statement."""
        from headbench.cache.reader import FeatureFile

        return FeatureFile(self.features_path)

    def _warn_of_scaling(self, data: Any) -> None:
        from headbench.classify.doctor.model.own_backbone import warn_of_scaling
        from headbench.extract.sources.open import open_source

        source = open_source(data, self.features_path) if isinstance(data, str | Path) else data
        with self.open_features() as features:
            warn_of_scaling(features, source)

    def embeddings(self, split: str) -> "tuple[NDArray[np.float32], NDArray[np.int32]]":
        """Embeddings and labels of a split, in memory.

        Parameters
        ----------
        split : str
            train, val or test.

        Returns
        -------
        X : float32 (n_split, dim)
        y : int32 (n_split,)
            Index into the classes of the feature file.
        """
        with self.open_features() as features:
            return features.load(split)

    def to_pandas(self) -> "pd.DataFrame":
        """A row an image: path, class, split and more; everything except the embeddings."""
        with self.open_features() as features:
            return features.to_pandas()

    def to_parquet(self, path: str | Path) -> None:
        """Write a row an image: path, class, split, content hash, embedding; needs pyarrow."""
        from headbench.cache.parquet import write_embeddings

        with self.open_features() as features:
            write_embeddings(features, Path(path))
            LOG.info(f"{path}: {features.n_images} images, {features.dim} numbers each")

    @showing_progress()
    def heads(
        self,
        *names: str,
        seed: int | None = None,
        class_weight: str | None = None,
        config: str | Path | None = None,
        refit: bool = False,
        again: bool = False,
        curve: bool = False,
        folds: int | None = None,
        stream: str | None = None,
        jobs: int | None = None,
        backend: str = _MACHINES.backend,
        scheduler: str | None = _MACHINES.scheduler,
        **parameters: Any,
    ) -> Heads:
        """Stage two: fit heads on train, choose on val, save; unchanged ones are reused.

        Parameters
        ----------
        names : str
            Heads, such as ``"logreg", "mlp-256"``; by default all.
        seed : int, optional
            Of heads that use random numbers.
        class_weight : {None, "balanced"}
            ``balanced``: rare classes weigh as much as common ones.
        config : str or Path, optional
            TOML file: heads, seed, settings, a table for each head.
        refit : bool
            Fit again on train and val together, with what val chose.
        again : bool
            Train what would be reused too.
        curve : bool
            Also a learning curve: every head on 1 to 100 % of train.
        folds : int, optional
            Also cross-validation on train and val.
        stream : {None, "auto", "always", "never"}
            Read embeddings from the file as they are needed.
        jobs : int, optional
            Fits at a time; by default the number of cores.
        backend : {"local", "dask"}
            ``dask``: the workers of a running cluster.
        scheduler : str, optional
            Address of that cluster, such as ``tcp://10.0.0.1:8786``.
        **parameters
            Of the heads: ``c_grid``, ``max_iter``, ``max_rounds``, ``max_epochs``, ...

        Returns
        -------
        Heads
            Those of `names`, or all that are trained.
        """
        from headbench.classify.train_heads import train_heads
        from headbench.classify.train_settings import check_settings, combine

        check_settings(parameters)
        given = {"heads": list(names), "seed": seed, "class_weight": class_weight}
        given |= {"refit": refit, "again": again, "stream": stream, **parameters}
        given = {key: value for key, value in given.items() if value not in (None, False, [])}
        machines = Machines(jobs or _MACHINES.n_jobs, backend, scheduler)
        chosen, seed, settings = combine(given, Path(config) if config else None, machines)
        train_heads(self._run, chosen, seed, settings, self._command)
        if curve or folds:
            self._study(chosen, seed, settings, curve, folds, jobs or os.cpu_count() or 1)
        return self.trained(chosen)

    def _study(
        self,
        names: Sequence[str],
        seed: int,
        settings: Any,
        curve: bool,
        folds: int | None,
        n_jobs: int,
    ) -> None:
        from headbench.classify.heads.registry import VOTE
        from headbench.classify.report.words import describe_curve, describe_folds
        from headbench.classify.studies.folds import cross_validate
        from headbench.classify.studies.learning_curve import learning_curve
        from headbench.classify.train_settings import configured_heads

        heads = configured_heads(names, seed, settings)
        alone = {name: head for name, head in heads.items() if name != VOTE}
        with self.open_features() as features:
            if curve:
                points = learning_curve(self.folder, features, alone, seed, n_jobs)
                LOG.info(describe_curve(points))
            if folds:
                found = cross_validate(self.folder, features, alone, folds, seed, n_jobs)
                LOG.info(describe_folds(found))

    def trained(self, names: Iterable[str] = ()) -> Heads:
        """What was trained in this run, the best balanced accuracy on val first."""
        from headbench.classify.run import rank

        with self.open_features() as features:
            y_val = features.labels("val")
            found: list[Trained] = self._run.trained(features)
        wanted = set(names) or {each.record.name for each in found}
        chosen = [each for each in found if each.record.name in wanted]
        return Heads(tuple(rank(chosen, y_val)), y_val)

    @showing_progress()
    def report(
        self,
        head: str | None = None,
        data: str | Path | None = None,
        *,
        explain: bool = False,
        weights: str | None = None,
    ) -> Report:
        """Measure every trained head on test, and write the report.

        Parameters
        ----------
        head : str, optional
            Whose mistakes are shown; by default the best balanced accuracy on val.
        data : str or Path, optional
            The images, if they were moved: a folder or a URL.
        explain : bool
            Load the network, and show what in each picture of a mistake spoke for the predicted
            class and for the true one. It is kept, and later reports show it too.
        weights : str, optional
            The network's weights for that, if they were moved.
        """
        from headbench.classify.report.write import make_report

        written = make_report(
            self._run, head, data, self._command, explain=explain, weights=weights
        )
        return Report(written, self._run.report_folder)

    def open(self) -> None:
        """Show the report in the browser."""
        from headbench.classify.report.write import open_report

        open_report(self._run)

    @showing_progress()
    def finetune(
        self,
        *,
        data: str | Path | None = None,
        weights: str | None = None,
        device: str = _DEFAULT.device,
        again: bool = False,
        **settings: Any,
    ) -> Heads:
        """Stage three: train the top blocks of the network, starting from a trained head.

        Parameters
        ----------
        data : str or Path, optional
            The images, if they were moved: a folder or a URL.
        weights : str, optional
            The network's weights, if they were moved.
        device : {"auto", "cpu", "gpu"}
        again : bool
            Train even what is already trained.
        **settings
            Of `headbench.classify.finetuning.finetune_settings.FinetuneSettings`: ``unfreeze``,
            ``start``, ``epochs``, ``learning_rate``, ``augment``, ...
        """
        from headbench.classify.finetuning.finetune_settings import FinetuneSettings
        from headbench.classify.finetuning.finetune_stage import finetune

        chosen = FinetuneSettings(**settings)
        finetune(self._run, chosen, data, weights, self._command, device, again)
        return self.trained([chosen.name, chosen.start])

    @showing_progress()
    def verify(
        self, *, repair: bool = False, sample: int | None = None, seed: int = 0
    ) -> "Inspection":
        """Check the feature file: layout, checksums, values, labels and paths.

        Parameters
        ----------
        repair : bool
            Drop damaged images; `features` embeds just those again.
        sample : int, optional
            Random blocks of each dataset to read, chosen by `seed`; by default all.
        """
        from headbench.cache.verify import inspect_file, repair_file

        if repair:
            return repair_file(self.features_path)
        return inspect_file(self.features_path, sample, seed)

    @showing_progress()
    def rerun(
        self,
        n_images: int,
        *,
        seed: int = 0,
        data: str | Path | None = None,
        weights: str | None = None,
        device: str = _DEFAULT.device,
        engine: str = _DEFAULT.engine,
        batch_size: int | None = _DEFAULT.batch_size,
    ) -> "Rerun":
        """Embed some images again, spread over the splits, and compare with what is stored."""
        from headbench.extract.rerun import rerun_features
        from headbench.extract.settings import Runtime

        runtime = Runtime(device, engine, batch_size)
        where = None if data is None else str(data)
        with self.open_features() as features:
            return rerun_features(features, n_images, seed, where, weights, runtime)

    @showing_progress()
    def predict(
        self,
        images: str | Path | Sequence[str | Path],
        head: str | None = None,
        *,
        weights: str | None = None,
        top: int = N_TOP,
        min_confidence: float = 0.0,
        explain: str | Path | None = None,
        parquet: str | Path | None = None,
        coverage: float | None = None,
        false_alarms: float = FALSE_ALARMS,
        device: str = _DEFAULT.device,
        engine: str = _DEFAULT.engine,
        batch_size: int | None = _DEFAULT.batch_size,
    ) -> Predictions:
        """Classes and probabilities of new images.

        Parameters
        ----------
        images : str or Path, or a sequence of them
            Files, folders, patterns such as ``photos/**/*.jpg``, and runs by name or folder.
            Embeddings that a run holds are not computed again.
        head : str, optional
            A trained head or ``finetuned``; by default the best balanced accuracy on val.
        weights : str, optional
            The network's weights, if they were moved.
        top : int
            Classes for each image.
        min_confidence : float
            Give no answer if the top probability is below this, 0 to 1.
        explain : str or Path, optional
            Page to write, such as ``why.html``: what in each picture spoke for its class. It shows
            the first 200 images.
        parquet : str or Path, optional
            Also write the probabilities of all classes to this file; needs pyarrow.
        coverage : float, optional
            Also give the set of classes that holds the true one with this probability.
        false_alarms : float
            Share of images like those of val that may be taken for ones of none of the classes.
        device : {"auto", "cpu", "gpu"}
            ``auto``: every GPU that TensorFlow sees, else the CPU.
        engine : {"auto", "tensorflow", "openvino"}
            ``auto``: OpenVINO on a CPU, if it is installed, else TensorFlow.
        batch_size : int, optional
            Images at once; by default what suits the device.
        """
        from headbench.classify.deployment.predict_images import NamedPredictions, PredictSettings
        from headbench.extract.settings import Runtime

        settings = PredictSettings(
            head,
            weights,
            top,
            min_confidence,
            coverage,
            false_alarms,
            None if explain is None else Path(explain),
            None if parquet is None else Path(parquet),
        )
        runtime = Runtime(device, engine, batch_size)
        found = NamedPredictions(self._run, _named(images), stored_run, settings, runtime)
        return Predictions(list(found))

    @showing_progress()
    def similar(
        self,
        images: str | Path | Sequence[str | Path] = (),
        *,
        rows: Sequence[int | str] = (),
        pairs: bool | float = False,
        k: int = N_SIMILAR,
        split: str | None = None,
        out: str | Path | None = None,
        data: str | Path | None = None,
        weights: str | None = None,
        device: str = _DEFAULT.device,
        engine: str = _DEFAULT.engine,
        batch_size: int | None = _DEFAULT.batch_size,
    ) -> Similar:
        """The images of this run that are most like others, by the cosine of their embeddings.

        The search is exact. Images whose bytes are in the feature file need no network.

        Parameters
        ----------
        images : str or Path, or a sequence of them
            Files, folders, patterns, and runs by name or folder.
        rows : sequence of int or str
            Instead of `images`: rows of the feature file, or paths of images in it. They do not
            find themselves.
        pairs : bool or float
            Instead of `images`: all pairs of images of the run with at least this similarity; True
            for the threshold of near-duplicates.
        k : int
            Similar images for each.
        split : {"train", "val", "test", "unlabelled"}, optional
            Where to search; by default in all.
        out : str or Path, optional
            Also write a page of thumbnails to this file.
        data : str or Path, optional
            The images of the run, if they were moved: a folder or a URL.
        weights : str, optional
            The network's weights, if they were moved.
        device : {"auto", "cpu", "gpu"}
            ``auto``: every GPU that TensorFlow sees, else the CPU.
        engine : {"auto", "tensorflow", "openvino"}
            ``auto``: OpenVINO on a CPU, if it is installed, else TensorFlow.
        batch_size : int, optional
            Images at once; by default what suits the device.
        """
        from headbench.classify.deployment import similar_images
        from headbench.classify.deployment.named_images import name_images
        from headbench.extract.settings import Runtime
        from headbench.extract.sources.open import images_of

        runtime = Runtime(device, engine, batch_size)
        with self.open_features() as features:
            notes: list[str] = []
            if pairs:
                threshold = None if pairs is True else float(pairs)
                found, all_pairs = similar_images.pairs_of(features, threshold, split)
                notes = [similar_images.describe_pairs(all_pairs)]
                LOG.info(notes[0])
            elif rows:
                asked = [similar_images.find_row(features, str(row)) for row in rows]
                found = list(similar_images.similar_to_rows(features, asked, k, split))
            else:
                files = name_images(_named(images), stored_run)
                found = list(
                    similar_images.similar_to_files(features, files, k, split, weights, runtime)
                )
            if out is not None:
                source = images_of(features, data)
                title = f"{self}: similar images"
                similar_images.write_page(features, Path(out), title, notes, found, source)
                LOG.info(f"{out}: a page of thumbnails")
        return Similar(tuple(found))

    @showing_progress()
    def suggest(
        self,
        pool: str | Path,
        n: int = N_SUGGESTED,
        *,
        by: str = "uncertainty",
        head: str | None = None,
        csv: str | Path | None = None,
        data: str | Path | None = None,
    ) -> Suggestions:
        """Which images without labels to label next.

        Parameters
        ----------
        pool : str or Path
            A run of images without labels, or the folder that it was made of.
        n : int
            Images to choose.
        by : {"uncertainty", "cover", "both"}
            Where the head hesitates between two classes; unlike every image of train; or unlike,
            among the 3 n most uncertain.
        head : str, optional
            A trained head; by default the best balanced accuracy on val.
        csv : str or Path, optional
            Write a list to fill in, which `features` takes, and a page of thumbnails beside it. A
            file that is there is not replaced.
        data : str or Path, optional
            The images of `pool`, if they were moved: a folder, a list or a URL.
        """
        from headbench.cache.reader import FeatureFile
        from headbench.classify.deployment import suggested_images
        from headbench.classify.inspection.label_next import RULES
        from headbench.extract.sources.open import images_of

        path = Run(pool).features_path
        with self.open_features() as features, FeatureFile(path) as others:
            found = suggested_images.suggest(self._run, features, others, n, by, head)
            if csv is not None:
                notes = [f"{by}: {RULES[by]}."]
                source, title = images_of(others, data), f"{self}: images to label next"
                suggested_images.write_list(Path(csv), features, others, found)
                page = Path(csv).with_suffix(".html")
                suggested_images.write_page(page, title, notes, others, found, source)
        return Suggestions(tuple(found))

    @showing_progress()
    def export(
        self,
        head: str | None = None,
        *formats: str,
        out: str | Path | None = None,
        weights: str | None = None,
        data: str | Path | None = None,
        max_loss: float = MAX_LOSS,
    ) -> Path:
        """Write a model that runs without headbench.

        Parameters
        ----------
        head : str, optional
            By default the exportable head with the best balanced accuracy on val.
        formats : str
            ``saved_model``, ``keras``, ``onnx``; by default these, if they can be written.
            ``onnx-int8``, ``tflite``, ``tflite-float16``, ``tflite-int8``.
        out : str or Path, optional
            The folder; by default ``export/HEAD`` in the run's.
        weights : str, optional
            The network's weights, if they were moved.
        data : str or Path, optional
            The images, if they were moved: a folder or a URL.
        max_loss : float
            Points of accuracy that a float16 or int8 file may lose against `predict`.

        Returns
        -------
        Path
            The folder.
        """
        from headbench.classify.export.export_model import export_model

        folder = Path(out) if out else None
        return export_model(self._run, head, weights, data, folder, formats or None, max_loss)


def _named(images: str | Path | Sequence[str | Path]) -> list[str]:
    return [str(each) for each in ([images] if isinstance(images, str | Path) else images)]


@showing_progress()
def backbones(
    data: str | Path,
    networks: Sequence[str] | Mapping[str, Mapping[str, Any]],
    name: str | None = None,
    *,
    sample: int = SAMPLE,
    folds: int = FOLDS,
    **settings: Any,
) -> Networks:
    """Embed a sample with several networks, and rank them by cross-validated ridge regression.

    The sample is drawn by class from what will be train and val. Its embeddings are kept in the
    runs ``NAME-NETWORK``, where `features` goes on with all images.

    Parameters
    ----------
    data : str or Path
        A folder of labelled images or a list; tar shards once `features` has read them.
    networks : sequence of str, or mapping of str to mapping
        Names of networks; or for each a name of your own and its settings, such as
        ``{"small": {"backbone": "resnet50", "size": 96}}``.
    name : str, optional
        What the names of the runs begin with; by default the name of the images.
    sample : int
        Images to embed; more if a class would have fewer than there are folds.
    folds : int
        Of the cross-validation; at least 3.
    **settings
        Of `features`, for all networks: ``size``, ``seed``, ``val_share``, ``device``, ...

    Returns
    -------
    Networks

    Raises
    ------
    HeadbenchError
        For what the user can fix.
    """
    from headbench.classify.studies.network_choice import Candidate, choose_network

    named = networks if isinstance(networks, Mapping) else {each: {} for each in networks}
    base = name or name_of(str(data))
    candidates = []
    for label, own in named.items():
        chosen = _settings(**{"backbone": label, **settings, **own})
        runs = (base, f"{base}-{network_name(label)}")
        places = {run: Run(new_run_path(run)).features_path for run in runs}
        candidates.append(Candidate(label, chosen, places))
    return Networks(choose_network(data, candidates, sample, folds))


def _settings(
    size: int | None = _DEFAULT.size_px, max_file_size: int = _DEFAULT.max_file_mb, **others: Any
) -> ExtractSettings:
    """The settings of an extraction by the names that `features` gives them."""
    return ExtractSettings(size_px=size, max_file_mb=max_file_size, **others)


@showing_progress()
def compare(*runs: str | Path | Run) -> Comparison:
    """Compare runs on the test images that all have, and write a page.

    Two runs are compared head by head; of more, each has its best head on val.
    """
    from headbench.classify.report.versus import compare_runs, write_page

    folders = [each._run if isinstance(each, Run) else Run(each)._run for each in runs]
    versus = compare_runs(*folders)
    return Comparison(versus, write_page(versus, folders[0].report_folder))


@showing_progress()
def doctor(*targets: str | Path, script: Sequence[str] = ()) -> Findings:
    """Find why validation accuracy is at chance.

    Parameters
    ----------
    targets : str or Path
        A folder of images, a run, a Keras model (``.keras``, ``.h5``), or one of each. By default
        the run of the last `features`.
    script : sequence of str
        What your own script does, such as ``"scaling=/255"``.
    """
    from headbench.classify.doctor.examine import examine, sort_targets
    from headbench.classify.doctor.script import parse_script

    return Findings(examine(sort_targets(targets_of(targets)), parse_script(script)))
