"""Code for the README of an export, from image files to the names of classes.

`with_resizing` puts its lines in place of RESIZED, and numbers in place of SIZE and SHORTER, the
length of the shorter side before the crop.
"""

from headbench.classify.heads.boosting import MODEL_FILE
from headbench.extract.images.resizing import PADDING, Resizing
from headbench.extract.settings import CROP, LETTERBOX, NONE, SQUASH

RESIZED = {
    CROP: """\
    sides = [round(side * SHORTER / min(image.size)) for side in image.size]
    starts = [(side - SIZE) // 2 for side in sides]
    ends = [start + SIZE for start in starts]
    axes = 2 * list(zip(sides, image.size))
    box = [place * length / side for place, (side, length) in zip(starts + ends, axes)]
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box))""",
    SQUASH: """\
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))""",
    LETTERBOX: """\
    sides = [max(1, round(side * SIZE / max(image.size))) for side in image.size]
    square = Image.new("RGB", (SIZE, SIZE), PADDING)
    place = [(SIZE - side) // 2 for side in sides]
    square.paste(image.resize(sides, Image.Resampling.BILINEAR), place)
    return np.asarray(square)""",
    NONE: """\
    if image.size != (SIZE, SIZE):
        raise ValueError(f"{path}: expected SIZE x SIZE px, found {image.size}")
    return np.asarray(image)""",
}
FILES_EXAMPLE = """\
import tensorflow as tf

model = tf.saved_model.load("saved_model").signatures["serving_default"]
files = [open(path, "rb").read() for path in ["a.jpg"]]
found = model(image_bytes=tf.constant(files))
print(found["label"].numpy(), found["probabilities"].numpy())
"""
PIXELS_EXAMPLE = """\
import json
import numpy as np
from PIL import Image, ImageOps

def pixels_of(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
RESIZED

pixels = np.stack([pixels_of(path) for path in ["a.jpg"]])
classes = json.load(open("export.json", encoding="utf-8"))["classes"]
"""
# By the name of the format, up to a hyphen.
EXAMPLES = {
    "saved_model": FILES_EXAMPLE,
    "keras": f"""\
{PIXELS_EXAMPLE}
import keras

probabilities = keras.saving.load_model("model.keras").predict(pixels)
print([classes[best] for best in probabilities.argmax(axis=1)], probabilities)
""",
    "onnx": f"""\
{PIXELS_EXAMPLE}
import onnxruntime

(probabilities,) = onnxruntime.InferenceSession("FILE").run(None, {{"pixels": pixels}})
print([classes[best] for best in probabilities.argmax(axis=1)], probabilities)
""",
    "tflite": f"""\
{PIXELS_EXAMPLE}
from ai_edge_litert.interpreter import Interpreter

model = Interpreter("FILE").get_signature_runner()
probabilities = np.concatenate([model(pixels=each[None])["probabilities"] for each in pixels])
print([classes[best] for best in probabilities.argmax(axis=1)], probabilities)
""",
}
HEAD_FILE = "head.json"
TREES_EXAMPLE = f"""\
import json, lightgbm, numpy as np, tensorflow as tf
head = json.load(open("{HEAD_FILE}", encoding="utf-8"))
network = tf.saved_model.load("saved_model").signatures["serving_default"]
files = [open(path, "rb").read() for path in ["a.jpg"]]
embeddings = network(image_bytes=tf.constant(files))["embeddings"].numpy()
logits = lightgbm.Booster(model_file="{MODEL_FILE}").predict(embeddings, raw_score=True)
logits += head["sharpness"] * embeddings @ np.eye(embeddings.shape[1], logits.shape[1])
proba = tf.nn.softmax(logits).numpy()
powers = np.maximum(proba, head["smallest"]) ** (1 / head["temperature"])
probabilities = np.zeros((len(files), len(head["classes"])))
probabilities[:, head["columns"]] = powers / powers.sum(axis=1, keepdims=True)
print([head["classes"][best] for best in probabilities.argmax(axis=1)], probabilities)
"""


def with_resizing(code: str, resizing: Resizing) -> str:
    """An example that resizes as the embeddings were made."""
    code = code.replace("RESIZED", RESIZED[resizing.rule]).replace("PADDING", str(PADDING))
    return code.replace("SHORTER", str(resizing.shorter_px)).replace("SIZE", str(resizing.size_px))
