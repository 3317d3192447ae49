"""A ``.keras`` file that Keras alone can open."""

import json
import zipfile
from pathlib import Path

from classify.export.exportable import Exportable

FACTS_FILE = "headbench.json"


def write_keras_file(exported: Exportable, path: Path) -> None:
    """Write the network of built-in layers, without an optimizer.

    The file is a zip archive: class names and provenance are one more file in it, `FACTS_FILE`,
    which Keras leaves alone.
    """
    exported.network.save(path)
    facts = {"classes": exported.classes, "provenance": exported.provenance}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FACTS_FILE, json.dumps(facts, indent=2, ensure_ascii=False))
