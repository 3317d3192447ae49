"""What stands beside a network whose head are LightGBM's trees."""

import json
from pathlib import Path

from classify.export.exportable import Exportable
from classify.heads.boosting import MODEL_FILE, LightGBM
from classify.heads.temperature import SMALLEST

HEAD_FILE = "head.json"
README = f"""\
Classes and probabilities of image files, with nothing but tensorflow, lightgbm and numpy.
saved_model gives what the trees look at, {MODEL_FILE} holds the trees, {HEAD_FILE} the rest.
Run this in here:

    import json, lightgbm, numpy as np, tensorflow as tf
    head = json.load(open("{HEAD_FILE}", encoding="utf-8"))
    network = tf.saved_model.load("saved_model").signatures["serving_default"]
    files = [open(path, "rb").read() for path in ["a.jpg"]]
    embeddings = network(image_bytes=tf.constant(files))["embeddings"].numpy()
    proba = lightgbm.Booster(model_file="{MODEL_FILE}").predict(embeddings)
    powers = np.maximum(proba, head["smallest"]) ** (1 / head["temperature"])
    probabilities = np.zeros((len(files), len(head["classes"])))
    probabilities[:, head["columns"]] = powers / powers.sum(axis=1, keepdims=True)
    print([head["classes"][best] for best in probabilities.argmax(axis=1)], probabilities)
"""


def write_trees(exported: Exportable, trees: LightGBM, folder: Path) -> None:
    """Write the trees as LightGBM's own text, temperature and classes as JSON, and how to use them.

    Parameters
    ----------
    exported : Exportable
    trees : LightGBM
    folder : Path
        Holds the network.
    """
    (folder / MODEL_FILE).write_text(trees.model_text_, "utf-8")
    facts = {
        "classes": exported.classes,
        # Of the trees' probabilities, each the position of its class; all others are 0.
        "columns": trees.classes_.tolist(),
        "temperature": trees.temperature_,
        "smallest": float(SMALLEST),
        "provenance": exported.provenance,
    }
    (folder / HEAD_FILE).write_text(json.dumps(facts, indent=2, ensure_ascii=False), "utf-8")
    (folder / "README.txt").write_text(README, "utf-8")
