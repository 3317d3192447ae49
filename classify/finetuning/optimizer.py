"""Adam with a learning rate for each variable, in one pass over the weights."""

import math
from collections.abc import Sequence
from typing import Any

from classify.finetuning.settings import CONSTANT, FinetuneSettings
from extract.keras_runtime import load_keras, load_tensorflow


def create_adam(variables: Sequence[Any], factors: Sequence[float], weight_decay: float) -> Any:
    """Adam (Kingma & Ba 2015) as Keras has it, but for the rates and the speed.

    Keras updates each variable by a dozen operations, TensorFlow by one. Where several devices
    train, gradients come in summed over them. Keras does that here, after loss scaling has looked,
    on each device for itself, whether they are finite: one device took the step, another did not.

    Parameters
    ----------
    variables : sequence of keras.Variable
        What trains.
    factors : sequence of float, as many
        What the learning rate of each is multiplied by.
    weight_decay : float
        Decoupled (Loshchilov & Hutter 2019), of variables with more than one axis.

    Returns
    -------
    keras.optimizers.Adam
        Built; its ``learning_rate`` may be assigned between steps.
    """
    keras, tf = load_keras(), load_tensorflow()

    class LayerwiseAdam(keras.optimizers.Adam):  # type: ignore[misc, name-defined]
        def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
            return grads_and_vars

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            index = self._get_variable_index(variable)
            rate = tf.cast(learning_rate, tf.float32) * factors[index]
            if weight_decay and len(variable.shape) > 1:
                variable.assign_sub(weight_decay * rate * variable)
            step = tf.cast(self.iterations + 1, tf.float32)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._momentums[index].value.handle,
                v=self._velocities[index].value.handle,
                beta1_power=tf.pow(self.beta_1, step),
                beta2_power=tf.pow(self.beta_2, step),
                lr=rate,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )

    optimizer = LayerwiseAdam(0.0)
    optimizer.build(variables)
    return optimizer


def learning_rate(settings: FinetuneSettings, step: int, n_steps: int) -> float:
    """The rate of a step, counted from 0, of as many as there would be without an early stop."""
    if settings.schedule == CONSTANT:
        return settings.learning_rate
    n_warm = settings.warmup * n_steps
    if step < n_warm:
        return settings.learning_rate * (step + 1) / (math.floor(n_warm) + 1)
    done = (step - n_warm) / max(n_steps - n_warm, 1)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2
