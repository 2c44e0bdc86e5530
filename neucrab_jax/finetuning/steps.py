# SPDX-License-Identifier: Apache-2.0
"""One step of training, and one of prediction, of several trials at once.

Every leaf of a state has a leading axis of trials. Trials of different seeds
see different batches; each trial says which of the seeds' batches is its own.

Axes: T trials, S seeds, B batch, C classes.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics
from flax import struct

from neucrab_jax import parallel
from neucrab_jax.finetuning import protocol as protocol_lib
from neucrab_jax.finetuning.network import Network
from neucrab_jax.typing import Array


@struct.dataclass
class Metrics(metrics.Collection):
  """Mean cross-entropy, in nats, and accuracy."""

  loss: metrics.Average.from_output('loss')  # pyright: ignore[reportInvalidTypeForm]
  accuracy: metrics.Accuracy


@struct.dataclass
class State:
  """What a step changes."""

  variables: Mapping[str, Any]  # [T, ...], `params` and statistics
  momentum: Any  # [T, ...], of the optimiser
  metrics: Metrics  # [T], over the steps since the last point of the curve


@struct.dataclass
class Batch:
  """What all trials of a step are given."""

  inputs: Array | jax.ShapeDtypeStruct  # [S, B, ...]
  labels: Array | jax.ShapeDtypeStruct  # [S, B]
  learning_rates: Array  # [T]
  seeds: Array  # [T] u32
  which: Array  # [T], which of the S batches is a trial's own
  step: Array | np.integer  # []


def _over_trials(function: Callable, *, num_trials: int, in_axes: tuple):
  """`vmap`, but for a single trial, whose convolutions it would slow down."""
  if num_trials > 1:
    return jax.vmap(function, in_axes=in_axes)

  def alone(*arguments):
    arguments = [
      jax.tree.map(lambda x: x[0], argument) if axis == 0 else argument
      for argument, axis in zip(arguments, in_axes, strict=True)
    ]
    return jax.tree.map(lambda x: x[None], function(*arguments))

  return alone


def _measure(logits, labels, mask=None) -> tuple[jax.Array, Metrics]:
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return losses, Metrics.single_from_model_output(
    loss=losses, logits=logits, labels=labels, mask=mask
  )


def _merge(before: Metrics, measured: Metrics) -> Metrics:
  """Adds, with types that stay, as x64 would widen the counts."""
  return jax.tree.map(
    lambda old, new: new.astype(old.dtype), before, before.merge(measured)
  )


def empty_metrics(num_trials: int) -> Metrics:
  return jax.tree.map(
    lambda x: np.repeat(np.asarray(x)[None], num_trials, axis=0),
    Metrics.empty(),
  )


def start(variables: Mapping[str, Any], *, num_trials: int) -> State:
  """The state of T trials before their first step, on the host."""
  one = jax.tree.map(np.asarray, variables)
  state = jax.eval_shape(
    protocol_lib.optimizer(0.0, momentum=0.9, weight_decay=0.0).init,
    one['params'],
  )
  momentum = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state)
  variables, momentum = jax.tree.map(
    lambda x: np.repeat(x[None], num_trials, axis=0), (one, momentum)
  )
  return State(variables, momentum, empty_metrics(num_trials))


@functools.cache
def training(
  network: Network, *, num_trials: int, momentum: float, weight_decay: float
) -> Callable[[State, Batch], tuple[State, jax.Array]]:
  """Compiles a step of training.

  Returns:
    From a state, which is given away, and a batch to the next state and the
    losses [T].
  """

  def step_one(state, learning_rate, seed, which, inputs, labels, step):
    key = jax.random.fold_in(jax.random.key(seed), step)
    inputs, labels = inputs[which], labels[which]
    variables = state.variables

    def loss_fn(params):
      logits, statistics = network.apply(
        {**variables, 'params': params}, inputs, key=key
      )
      losses, measured = _measure(logits, labels)
      return jnp.mean(losses), (statistics, measured)

    (loss, (statistics, measured)), gradients = jax.value_and_grad(
      loss_fn, has_aux=True
    )(variables['params'])
    optimizer = protocol_lib.optimizer(
      learning_rate, momentum=momentum, weight_decay=weight_decay
    )
    updates, memory = optimizer.update(
      gradients, state.momentum, variables['params']
    )
    params = optax.apply_updates(variables['params'], updates)
    state = State(
      variables={'params': params, **statistics},
      momentum=memory,
      metrics=_merge(state.metrics, measured),
    )
    return state, loss

  over_trials = _over_trials(
    step_one, num_trials=num_trials, in_axes=(0, 0, 0, 0, None, None, None)
  )

  def step(state: State, batch: Batch):
    return over_trials(
      state,
      batch.learning_rates,
      batch.seeds,
      batch.which,
      batch.inputs,
      batch.labels,
      batch.step,
    )

  return parallel.synchronous(step, donate=0)


@functools.cache
def prediction(network: Network, *, num_trials: int) -> Callable[..., Metrics]:
  """Compiles a step of prediction.

  Returns:
    From variables [T, ...], inputs [1, B, ...], labels [1, B], a mask [1, B]
    and the metrics so far to the metrics [T].
  """

  def predict_one(variables, inputs, labels, mask, before):
    logits, _ = network.apply(variables, inputs[0])
    return _merge(before, _measure(logits, labels[0], mask[0])[1])

  return parallel.synchronous(
    _over_trials(
      predict_one, num_trials=num_trials, in_axes=(0, None, None, None, 0)
    )
  )


def compute(measured: Metrics) -> tuple[np.ndarray, np.ndarray]:
  """Losses and accuracies, [T] each."""
  values = jax.vmap(lambda m: m.compute())(parallel.fetch(measured))
  return np.asarray(values['loss']), np.asarray(values['accuracy'])
