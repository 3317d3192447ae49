"""The top of the network with a head on it, ready to train, and the whole network afterwards."""

from dataclasses import dataclass
from typing import Any

from headbench.classify.errors import RunError
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.split_network import SplitNetwork
from headbench.classify.finetuning.steps import Steps, create_adam, create_strategy
from headbench.classify.heads.head import Head
from headbench.classify.heads.keras_head import keras_head
from headbench.extract.networks.cut import inputs_of
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import AUTO, FLOAT32, MIXED_FLOAT16


@dataclass(frozen=True)
class TrainableNetwork:
    """A top and a head, ready to train.

    Attributes
    ----------
    top : keras.Model
        Activations of the frozen part to embeddings.
    head : keras.Model
        Embeddings to logits.
    """

    network: SplitNetwork
    top: Any
    head: Any
    steps: Steps

    @classmethod
    def create(
        cls, network: SplitNetwork, head: Head, settings: FinetuneSettings, devices: Devices
    ) -> "TrainableNetwork":
        """Build it on some devices; `RunError` for a head that Keras layers cannot replace."""
        keras = load_keras()
        keras.utils.set_random_seed(settings.seed)
        dtype = precision(settings, devices)
        strategy = create_strategy(devices)
        with strategy.scope():
            top = network.top(dtype)
            logits = logits_of(head, settings.is_fresh)
            model = keras.Model(top.input, logits(top.output))
            factors = _factors(network, top, model, settings.depth_decay)
            variables = model.trainable_variables
            optimizer = create_adam(variables, factors, settings.weight_decay)
            if dtype == MIXED_FLOAT16:
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
                optimizer.build(variables)
            frozen = None if trains_on_activations(settings, network) else network.frozen_part()
        steps = Steps(frozen, model, optimizer, strategy, settings.label_smoothing)
        return cls(network, top, logits, steps)

    def whole(self, temperature: float) -> Any:
        """The whole network as it stands: uint8 images to probabilities, float32 throughout."""
        keras = load_keras()
        embeddings = keras.Input(self.head.input_shape[1:], name="embeddings")
        logits = self.head(embeddings)
        if temperature != 1:
            logits = keras.layers.Rescaling(1 / temperature, dtype=FLOAT32)(logits)
        proba = keras.activations.softmax(logits)
        return self.network.whole(self.top, keras.Model(embeddings, proba, name="head"))


def trains_on_activations(settings: FinetuneSettings, network: SplitNetwork) -> bool:
    """Whether training reads cached activations, so that no image goes through the frozen part."""
    return settings.cache_trunk and network.has_frozen_part


def precision(settings: FinetuneSettings, devices: Devices) -> str:
    """Precision of the top, as in the settings; the devices decide ``auto``."""
    if settings.precision != AUTO:
        return settings.precision
    return MIXED_FLOAT16 if devices.gain_from_float16 else FLOAT32


def logits_of(head: Head, is_fresh: bool = False) -> Any:
    """A fitted head as a Keras model, without the softmax at its end.

    With `is_fresh`, its weights are new, and its BatchNormalization trains.
    """
    keras = load_keras()
    proba = keras_head(head, len(head.classes_))
    [logits] = inputs_of(proba.operations[-1])
    model = keras.Model(proba.input, logits, name="logits")
    if is_fresh:
        model = keras.models.clone_model(model)
        model.trainable = True
    return model


def require_all_classes(head: Head, name: str, n_classes: int) -> None:
    """Refuse a head that was not trained on all classes: it has fewer columns than the file."""
    if len(head.classes_) != n_classes:
        raise RunError(
            f"{name}: expected a head trained on all {n_classes} classes, found "
            f"{len(head.classes_)}. Add images of every class to train, and run 'headbench "
            "features' and 'headbench heads' again."
        )


def _factors(network: SplitNetwork, top: Any, model: Any, decay: float) -> list[float]:
    """Factor on the learning rate of each variable that trains."""
    factors = {
        id(variable): decay ** (1 + network.depths[layer.name])
        for layer in top.layers
        for variable in layer.trainable_variables
    }
    return [factors.get(id(variable), 1.0) for variable in model.trainable_variables]
