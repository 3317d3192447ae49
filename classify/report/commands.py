"""The command lines behind a run."""

import shlex

from headbench.classify.report.opened_run import OpenedRun
from headbench.classify.run import is_finetuned
from headbench.extract.sources import python


def commands(opened: OpenedRun) -> list[str]:
    """Command lines in the order of the stages, each once.

    That of the features is written from what their file says of itself: it makes the same
    embeddings, whatever was typed when. The others are kept with what they trained.
    """
    trained = sorted(opened.ranked, key=lambda each: is_finetuned(each.record.name))
    lines = [_extraction(opened), *(each.record.command for each in trained), opened.command]
    return list(dict.fromkeys(line for line in lines if line))


def _extraction(opened: OpenedRun) -> str:
    config, identity = opened.features.config, opened.features.identity
    if config.data["layout"] in python.LAYOUTS:
        return ""  # it was Python that handed the images over
    options = {
        "out": opened.run.features_path,
        "weights": config.weights,
        "backbone": identity.backbone,
        "size": identity.size_px,
        "pooling": identity.pooling,
        "precision": identity.precision,
        "store": config.store,
        "seed": config.data["seed"],
    }
    if "val_share" in config.data:
        options["val-share"] = config.data["val_share"]
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "headbench.extract", str(config.data["folder"]), *words])
