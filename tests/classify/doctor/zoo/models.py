"""Keras models as people build them on ResNet50, with the weights given, one fault each.

Their heads are fitted on the embeddings that the faulty recipe itself gives, of the photographs of
train, so that each is as good as its fault lets it be.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.model.anatomy import batch_norms, batch_statistics
from headbench.classify.doctor.scalings import SCALINGS
from headbench.classify.heads.keras_head import keras_head
from headbench.classify.heads.logreg import LogReg
from headbench.extract.images.stream import ImageFile, image_batches
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.keras_runtime import load_keras, load_tensorflow
from headbench.extract.sources.folder import image_path
from headbench.extract.sources.open import find_images
from tests.classify.doctor.zoo.photographs import link
from tests.classify.doctor.zoo.project import Case, Project

SIZE_PX, BATCH, N_CLASSES = 64, 32, 10
Edit = Callable[[Any], Any]
FROM_LOGITS = "from logits"


def base_network(shared: Path) -> Any:
    weights = str(shared / "weights/resnet50_notop.weights.h5")
    return KerasBackbone("resnet50", weights, SIZE_PX).base()


@cache
def train_pixels(shared: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The photographs of train, shuffled, and their labels."""
    dataset = find_images(shared / "data/food10")
    images = [image for image in dataset.images if image.given_split == "train"]
    images = [images[row] for row in np.random.default_rng(0).permutation(len(images))]
    files = [ImageFile(image_path(dataset.root, image.path)) for image in images]
    pixels = [batch for _, batch in image_batches(files, SIZE_PX, BATCH, lambda *_: None)]
    labels = np.array([dataset.classes.index(image.class_name) for image in images])
    return np.concatenate(pixels), labels


@cache
def fitted_head(shared: Path, scaling: str, by_batch: bool) -> LogReg:
    """A logistic regression on what the network gives under a scaling, in a mode."""
    pixels, labels = train_pixels(shared)
    base = base_network(shared)
    with batch_statistics(batch_norms(base) if by_batch else []):
        infer = load_tensorflow().function(lambda images: base(images, training=False))
        starts = range(0, len(pixels) - BATCH + 1, BATCH)
        found = [
            infer(SCALINGS[scaling](pixels[start : start + BATCH])).numpy() for start in starts
        ]
    X = np.concatenate(found)
    y = labels[: len(X)]
    return LogReg(C=0.003).fit(X, y)


def build(
    shared: Path,
    scaling: str = "caffe",
    by_batch: bool = False,
    inside: str | None = None,
    edit_base: Edit = lambda base: base,
    is_nested: bool = True,
    before_head: Edit = lambda embeddings: embeddings,
    end: Edit = lambda proba: proba,
) -> Any:
    """A model of frozen ResNet50 and a head.

    `inside` is the scaling that the model does by itself; `edit_base` may spoil the network,
    whose layers are the model's own if it is not nested; `before_head` and `end` are put before and
    after the head.
    """
    keras = load_keras()
    base = base_network(shared)
    base.trainable = False
    base = edit_base(base) or base
    inputs, embeddings = base.input, base.output
    if is_nested:
        inputs = keras.Input((SIZE_PX, SIZE_PX, 3))
        embeddings = base(preprocessing(inside)(inputs))
    head = keras_head(fitted_head(shared, scaling, by_batch), N_CLASSES)
    return keras.Model(inputs, end(head(before_head(embeddings))))


def preprocessing(name: str | None) -> Edit:
    keras = load_keras()
    if name == "caffe":
        return lambda x: keras.applications.resnet50.preprocess_input(x)
    if name == "/255":
        return keras.layers.Rescaling(1 / 255)
    if name == "rgb-mean":
        return keras.layers.Normalization(mean=[123.68, 116.779, 103.939], variance=[1.0] * 3)
    if name == "tf":
        return keras.layers.Rescaling(1 / 127.5, offset=-1)
    return lambda x: x


def save(model: Any, path: Path, loss: Any) -> Path:
    losses = load_keras().losses
    model.compile("adam", losses.CategoricalCrossentropy(True) if loss == FROM_LOGITS else loss)
    model.save(path)
    return path


def model_case(
    folder: Path,
    shared: Path,
    script: Sequence[str] = (),
    loss: str | list[str] = "categorical_crossentropy",
    name: str = "model.keras",
    data: bool = True,
    **options: Any,
) -> Case:
    """Build a model, save it, and examine it with the real photographs; see `build`."""
    path = save(build(shared, **options), folder / name, loss)
    return Case([path, *([shared / "data/food10"] if data else [])], list(script))


def thaw_batch_norms(base: Any) -> None:
    """What comes of freezing convolutions alone: BatchNormalization is trained on."""
    for layer in batch_norms(base):
        layer.trainable = True


def origin(folder: Path, shared: Path, *, said: bool) -> Case:
    """Frozen but for its BatchNormalization, pixels / 255, a head that was trained on that."""
    script = ["scaling=/255"] if said else []
    return model_case(
        folder, shared, script, scaling="/255", by_batch=True, edit_base=thaw_batch_norms
    )


def origin_of_keras_22(folder: Path, shared: Path) -> Case:
    """All layers of the network frozen, as Keras 2.2 froze: BatchNormalization used the batch."""
    case = model_case(folder, shared, ["scaling=/255"], scaling="/255", by_batch=True, name="m.h5")
    with h5py.File(case.targets[0], "r+") as file:
        file.attrs["keras_version"] = "2.2.4"
    return case


def lagging(folder: Path, shared: Path) -> Case:
    """The right pixels, but moving statistics that training has moved off a little too far."""

    def move(base: Any) -> None:
        thaw_batch_norms(base)
        for layer in batch_norms(base):
            layer.moving_variance.assign(layer.moving_variance * 4)

    return model_case(folder, shared, inside="caffe", by_batch=True, edit_base=move)


def dense(kernel: NDArray[np.floating], bias: float = 0.0, *, is_on_logits: bool = True) -> Edit:
    """A softmax layer on logits, or on probabilities; `bias` is that of class 3."""

    def end(proba: Any) -> Any:
        last = load_keras().layers.Dense(kernel.shape[1], activation="softmax", name="last")
        outputs = last(logits(proba) if is_on_logits else proba)
        last.set_weights([kernel, bias * (np.arange(kernel.shape[1]) == 3)])
        return outputs

    return end


AS_IT_IS = np.eye(N_CLASSES, dtype=np.float32)


def logits(proba: Any) -> Any:
    return load_keras().ops.log(proba + 1e-7) + 1.0


def amid(proba: Any) -> Any:
    """A layer with a softmax on top of one, as sure as before."""
    return dense(12 * AS_IT_IS, is_on_logits=False)(proba)


def untrained(proba: Any) -> Any:
    """A layer as Keras begins it, on the probabilities of the head."""
    keras = load_keras()
    start = keras.initializers.RandomNormal(seed=0)
    return keras.layers.Dense(N_CLASSES, "softmax", kernel_initializer=start)(proba)


def dead(embeddings: Any) -> Any:
    """A ReLU that a far too high learning rate left below 0, whatever it is given."""
    below = load_keras().initializers.Constant(-1e4)
    width = embeddings.shape[-1]
    return load_keras().layers.Dense(width, "relu", bias_initializer=below)(embeddings)


def thaw(base: Any) -> None:
    base.trainable = True


def sigmoid(proba: Any) -> Any:
    return load_keras().layers.Activation("sigmoid")(logits(proba))


def frozen_outside(folder: Path, shared: Path) -> Case:
    """The network is frozen as a whole, and some of its layers are not."""

    def thaw_inside(base: Any) -> None:
        for layer in batch_norms(base)[-6:]:
            layer.trainable = True
        base._trainable = False

    return model_case(folder, shared, inside="caffe", edit_base=thaw_inside)


def not_a_number(folder: Path, shared: Path) -> Case:
    """What is left after a loss that became infinite."""
    return model_case(folder, shared, inside="caffe", end=dense(np.nan * AS_IT_IS))


def fresh_statistics(folder: Path, shared: Path) -> Case:
    """Weights that were loaded without the statistics of BatchNormalization."""

    def reset(base: Any) -> None:
        for layer in batch_norms(base):
            layer.moving_mean.assign(layer.moving_mean * 0)
            layer.moving_variance.assign(layer.moving_variance * 0 + 1)

    return model_case(folder, shared, inside="caffe", edit_base=reset)


def small_network(folder: Path, shared: Path) -> Case:
    """A small network of the user's own, trained from nothing with its scaling inside."""
    keras = load_keras()
    layers = keras.layers
    pixels, labels = train_pixels(shared)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((SIZE_PX, SIZE_PX, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 5, strides=4, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(N_CLASSES, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    model.fit(pixels.astype(np.float32), labels, epochs=25, verbose=0)
    path = save(model, folder / "model.keras", "sparse_categorical_crossentropy")
    return Case([path, shared / "data/food10"])


def norm_in_head(embeddings: Any) -> Any:
    """BatchNormalization that is trained, in the head: it changes nothing but the scale."""
    return load_keras().layers.BatchNormalization(name="norm_in_head")(embeddings)


def few_images(folder: Path, shared: Path) -> Case:
    """Two classes and five photographs of each, of those that the head has not seen."""
    case = model_case(folder, shared, inside="caffe", end=dense(AS_IT_IS[:, :2]))
    dataset = find_images(shared / "data/food10")
    for name in dataset.classes[:2]:
        held_out = [
            image_path(dataset.root, image.path)
            for image in dataset.images
            if image.class_name == name and image.given_split == "test"
        ]
        link(held_out[:5], folder / "photos" / name)
    return Case([case.targets[0], folder / "photos"])


def in_a_row(folder: Path, shared: Path, scaling: str) -> Case:
    """A Sequential model that begins with a rescaling layer; the script does nothing."""
    keras = load_keras()
    base = base_network(shared)
    base.trainable = False
    head = keras_head(fitted_head(shared, scaling, by_batch=False), N_CLASSES)
    start = keras.Input((SIZE_PX, SIZE_PX, 3))
    model = keras.Sequential([start, preprocessing(scaling), base, head])
    path = save(model, folder / "model.keras", "categorical_crossentropy")
    return Case([path, shared / "data/food10"])


WRONG = frozenset({"at-chance", "learnt-nothing", "one-class-predicted"})
IN_FROZEN = "batch-norm-trains-in-frozen-block"
MODES = WRONG | {"batch-statistics", IN_FROZEN, "frozen-layers-change"}
# What the origin's model has wrong, all of it.
ORIGIN = frozenset({"wrong-scaling", "batch-statistics", IN_FROZEN})

right = partial(model_case, inside="caffe")
wrong_scaling = partial(Project, code="wrong-scaling", also=WRONG)

PROJECTS: tuple[Project, ...] = (
    Project(
        "origin, scaling not said",
        partial(origin, said=False),
        "wrong-scaling",
        MODES,
        ORIGIN,
    ),
    Project(
        "origin, scaling said",
        partial(origin, said=True),
        "batch-statistics",
        MODES,
        ORIGIN,
    ),
    Project(
        "origin, saved by Keras 2.2",
        origin_of_keras_22,
        IN_FROZEN,
        MODES,
        ORIGIN,
    ),
    Project("moving statistics that lag", lagging, "batch-statistics", MODES),
    wrong_scaling("frozen, trained on pixels / 255", partial(model_case, scaling="/255")),
    wrong_scaling(
        "frozen, trained on pixels from -1 to 1",
        partial(model_case, script=["scaling=tf"], scaling="tf"),
    ),
    wrong_scaling(
        "the same, its layers not in a model of their own",
        partial(model_case, scaling="/255", is_nested=False),
    ),
    wrong_scaling("preprocessed twice", partial(right, script=["scaling=caffe"])),
    wrong_scaling("/255 before a model that preprocesses", partial(right, script=["scaling=/255"])),
    wrong_scaling("not preprocessed at all", partial(model_case, script=["scaling=raw"])),
    wrong_scaling(
        "a rescaling layer where caffe is due, no images",
        partial(model_case, script=["scaling=raw"], scaling="/255", inside="/255", data=False),
    ),
    wrong_scaling("a rescaling layer to -1 to 1, no script", partial(in_a_row, scaling="tf")),
    wrong_scaling("a rescaling layer to 0 to 1, no script", partial(in_a_row, scaling="/255")),
    wrong_scaling("the mean subtracted, BGR forgotten", partial(in_a_row, scaling="rgb-mean")),
    wrong_scaling(
        "a rescaling layer to -1 to 1, neither script nor images",
        partial(model_case, scaling="tf", inside="tf", data=False),
    ),
    Project(
        "softmax and a loss that applies it", partial(right, loss=FROM_LOGITS), "softmax-twice"
    ),
    Project(
        "two softmax layers",
        partial(right, end=lambda proba: load_keras().layers.Softmax()(proba)),
        "softmax-twice",
    ),
    Project("two softmax layers, weights between", partial(right, end=amid), "softmax-twice"),
    Project("no softmax", partial(right, end=logits), "softmax-missing"),
    Project(
        "no softmax, the loss in a list",
        partial(right, end=logits, loss=["categorical_crossentropy"]),
        "softmax-missing",
    ),
    Project("a sigmoid where a softmax is due", partial(right, end=sigmoid), "softmax-missing"),
    Project(
        "binary loss for ten classes", partial(right, loss="binary_crossentropy"), "wrong-loss"
    ),
    Project(
        "a dozen outputs for ten classes",
        partial(right, end=dense(np.pad(AS_IT_IS, ((0, 0), (0, 2))))),
        "wrong-number-of-outputs",
    ),
    Project(
        "one class for everything",
        partial(right, end=dense(AS_IT_IS, bias=20)),
        "one-class-predicted",
        WRONG,
    ),
    Project(
        "another class-to-index map",
        partial(right, end=dense(np.roll(AS_IT_IS, 1, axis=1))),
        "classes-in-another-order",
    ),
    Project(
        "trainable layers in a frozen network",
        frozen_outside,
        "frozen-layers-change",
        frozenset({IN_FROZEN}),
    ),
    Project(
        "a head that was never trained", partial(right, end=untrained), "learnt-nothing", WRONG
    ),
    Project(
        "labels from 1",
        partial(right, end=dense(np.pad(AS_IT_IS, ((0, 0), (1, 0))))),
        "labels-start-at-one",
        too=frozenset({"wrong-number-of-outputs"}),
    ),
    Project("a layer that is always 0", partial(right, before_head=dead), "dead-layer", WRONG),
    Project(
        "nothing frozen", partial(right, edit_base=thaw, end=untrained), "nothing-frozen", WRONG
    ),
    Project("weights that are NaN", not_a_number, "not-finite"),
    Project("statistics never loaded", fresh_statistics, "moving-statistics-never-set", WRONG),
    Project("sound: preprocessing inside", right),
    Project(
        "sound: preprocessing by the script, .h5",
        partial(model_case, script=["scaling=caffe"], name="model.h5"),
    ),
    Project("sound: nothing said", partial(model_case, is_nested=False)),
    Project("sound: logits and a loss for them", partial(right, end=logits, loss=FROM_LOGITS)),
    Project("sound: BatchNormalization in the head", partial(right, before_head=norm_in_head)),
    Project("sound: a small network from nothing", small_network),
    Project("sound: ten photographs", few_images),
)
