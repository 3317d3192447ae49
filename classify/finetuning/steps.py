"""One step of training, on one or several devices, in smaller shares where memory is short.

Also the optimizer, Adam with a learning rate for each variable, and the schedule.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.classify.finetuning.finetune_settings import CONSTANT, FinetuneSettings
from headbench.classify.metrics import TOP_K
from headbench.extract.networks.devices import Devices
from headbench.extract.networks.keras_runtime import load_keras, load_tensorflow

# Sums that a step returns: loss, correct, correct among five, weight.
N_SUMS = 4
# Of Adam, as Keras has them.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class Steps:
    """Training steps and predictions of a frozen part, a top and a head.

    The loss of a batch is the weighted mean over its images, in whatever shares it is computed. No
    BatchNormalization of the network uses batch statistics, so the gradient does not depend on the
    shares either, except for rounding.

    Parameters
    ----------
    frozen : keras.Model or None
        uint8 images to the inputs of `model`; None if no images will be given.
    model : keras.Model
        To logits float32 (n, n_classes).
    optimizer : keras.optimizers.Optimizer
        Built.
    strategy : tf.distribute.Strategy
        All of these were made in its scope.
    """

    def __init__(
        self, frozen: Any, model: Any, optimizer: Any, strategy: Any, label_smoothing: float
    ) -> None:
        self._tf = load_tensorflow()
        self._frozen, self.model, self.optimizer = frozen, model, optimizer
        self.strategy, self._smoothing = strategy, label_smoothing
        self.n_shares = 1
        self._variables = [variable.value for variable in model.trainable_variables]
        self._predict = self._tf.function(self._proba, autograph=False, reduce_retracing=True)
        self._trace()

    @property
    def n_devices(self) -> int:
        """Devices that share each batch."""
        return int(self.strategy.num_replicas_in_sync)

    def padded_size(self, batch_size: int) -> int:
        """Size of the batch after filling: every device and share has the same number of images."""
        multiple = self.n_devices * self.n_shares
        return math.ceil(batch_size / multiple) * multiple

    def halve(self) -> None:
        """Compute each gradient in twice as many shares, one after the other."""
        self.n_shares *= 2
        self._trace()

    def train(
        self, inputs: NDArray[Any], labels: NDArray[np.integer], weights: NDArray[np.floating]
    ) -> Any:
        """Take a step.

        Parameters
        ----------
        inputs : uint8 (n, size_px, size_px, 3) or float32 (n, ...)
            Images, or their activations after the frozen part.
        labels : int (n,)
        weights : float (n,)
            Weight of each image; 0 for one that only fills the batch.

        Returns
        -------
        tf.Tensor float32 (4,)
            Weighted sums over the images: loss, correct, correct among five; the sum of weights.
            On the device, so that nothing waits for it.
        """
        batch = (inputs, labels.astype(np.int32), weights.astype(np.float32))
        divisor = self._tf.constant(weights.sum(), self._tf.float32)
        return self._function(*(self._spread(each) for each in batch), divisor)

    def proba(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities of a batch, float32 (n, n_classes), on the first device."""
        return np.asarray(self._predict(self._tf.constant(inputs)))

    def _trace(self) -> None:
        strategy, tf = self.strategy, self._tf

        def step(inputs: Any, labels: Any, weights: Any, total: Any) -> Any:
            sums = strategy.run(self._on_device, (inputs, labels, weights, total))
            return strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

        self._function = tf.function(step, autograph=False)

    def _on_device(self, inputs: Any, labels: Any, weights: Any, total: Any) -> Any:
        sums, gradients = self._in_shares((inputs, labels, weights), total)
        context = self._tf.distribute.get_replica_context()
        gradients = context.all_reduce(self._tf.distribute.ReduceOp.SUM, gradients)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return sums

    def _in_shares(self, batch: tuple[Any, ...], total: Any) -> tuple[Any, Sequence[Any]]:
        if self.n_shares == 1:
            return self._gradients(batch, total)
        tf = self._tf
        shares = [tf.reshape(each, (self.n_shares, -1, *each.shape[1:])) for each in batch]

        def add(number: Any, sums: Any, gradients: Sequence[Any]) -> tuple[Any, Any, list[Any]]:
            more, others = self._gradients([share[number] for share in shares], total)
            return number + 1, sums + more, [a + b for a, b in zip(gradients, others, strict=True)]

        nothing = [tf.zeros(variable.shape) for variable in self._variables]
        _, sums, gradients = tf.while_loop(
            lambda number, *_: number < self.n_shares,
            add,
            (0, tf.zeros(N_SUMS), nothing),
            parallel_iterations=1,
        )
        return sums, gradients

    def _gradients(self, batch: Sequence[Any], total: Any) -> tuple[Any, Sequence[Any]]:
        """Sums over some images, and their part of the gradient of the whole batch."""
        tf, (inputs, labels, weights) = self._tf, batch
        with tf.GradientTape() as tape:
            logits = self.model(self._activations(inputs), training=True)
            n_classes = logits.shape[-1]
            wanted = tf.one_hot(labels, n_classes) * (1 - self._smoothing)
            wanted += self._smoothing / n_classes
            losses = tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
            loss = tf.reduce_sum(losses * weights) / total
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self._variables)
        right = tf.nn.in_top_k(labels, logits, 1)
        among = tf.nn.in_top_k(labels, logits, min(TOP_K, n_classes))
        columns = [losses, tf.cast(right, tf.float32), tf.cast(among, tf.float32)]
        columns.append(tf.ones_like(weights))
        return tf.linalg.matvec(tf.stack(columns), weights), gradients

    def _proba(self, inputs: Any) -> Any:
        return self._tf.nn.softmax(self.model(self._activations(inputs), training=False))

    def _activations(self, inputs: Any) -> Any:
        is_image = inputs.dtype == self._tf.uint8
        return self._frozen(inputs, training=False) if is_image else inputs

    def _spread(self, array: NDArray[Any]) -> Any:
        """A part for each device."""
        if self.n_devices == 1:
            return self._tf.constant(array)
        parts = np.split(array, self.n_devices)
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: self._tf.constant(parts[context.replica_id_in_sync_group])
        )


def create_strategy(devices: Devices) -> Any:
    """A ``tf.distribute.Strategy``: how variables and work are spread over the devices."""
    tf = load_tensorflow()
    if len(devices.names) > 1:
        return tf.distribute.MirroredStrategy(list(devices.names))
    # Not TensorFlow's default strategy: that uses a GPU if it sees one, even for --device cpu.
    return tf.distribute.OneDeviceStrategy(f"/{devices.names[0]}")


def create_adam(variables: Sequence[Any], factors: Sequence[float], weight_decay: float) -> Any:
    """Keras' Adam (Kingma & Ba 2015) with a rate for each variable, by TensorFlow's fused update.

    Keras updates each variable by a dozen operations, TensorFlow by one. On several devices the
    gradients are summed over them before the optimizer sees them. Keras would sum them inside it,
    after loss scaling looked on each device whether they are finite: then one device takes a step
    that another does not.

    Parameters
    ----------
    factors : sequence of float, length n_variables
        Factors of the learning rate.
    weight_decay : float
        Decoupled (Loshchilov & Hutter 2019), of variables with more than one axis.

    Returns
    -------
    keras.optimizers.Optimizer
        Built; its ``learning_rate`` may be assigned between steps.
    """
    optimizer = _layerwise_adam(factors, weight_decay)(0.0)
    optimizer.build(variables)
    return optimizer


def _layerwise_adam(factors: Sequence[float], weight_decay: float) -> Any:
    keras, tf = load_keras(), load_tensorflow()

    class LayerwiseAdam(keras.optimizers.Optimizer):  # type: ignore[misc, name-defined]
        def build(self, variables: Sequence[Any]) -> None:
            super().build(variables)
            self.momentums, self.velocities = (
                [self.add_variable_from_reference(each, name=name) for each in variables]
                for name in ("momentum", "velocity")
            )

        def _backend_update_step(
            self, gradients: Sequence[Any], variables: Sequence[Any], learning_rate: Any
        ) -> None:
            step = tf.cast(self.iterations + 1, tf.float32)
            beta1_power, beta2_power = tf.pow(BETA_1, step), tf.pow(BETA_2, step)
            moments = zip(self.momentums, self.velocities, strict=True)
            for gradient, variable, factor, (momentum, velocity) in zip(
                gradients, variables, factors, moments, strict=True
            ):
                rate, handle = tf.cast(learning_rate, tf.float32) * factor, variable.value.handle
                if weight_decay and len(variable.shape) > 1:
                    tf.raw_ops.AssignSubVariableOp(
                        resource=handle, value=weight_decay * rate * variable.value
                    )
                tf.raw_ops.ResourceApplyAdam(
                    var=handle,
                    m=momentum.value.handle,
                    v=velocity.value.handle,
                    beta1_power=beta1_power,
                    beta2_power=beta2_power,
                    lr=rate,
                    beta1=BETA_1,
                    beta2=BETA_2,
                    epsilon=EPSILON,
                    grad=gradient,
                )

    return LayerwiseAdam


def learning_rate(settings: FinetuneSettings, step: int, n_steps: int) -> float:
    """The rate of a step, counted from 0; `n_steps` is the number without an early stop."""
    if settings.schedule == CONSTANT:
        return settings.learning_rate
    n_warm = settings.warmup * n_steps
    if step < n_warm:
        return settings.learning_rate * (step + 1) / (math.floor(n_warm) + 1)
    done = (step - n_warm) / max(n_steps - n_warm, 1)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
