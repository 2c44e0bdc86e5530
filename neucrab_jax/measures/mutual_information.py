# SPDX-License-Identifier: Apache-2.0
"""Mutual information of features and labels, by a neural lower bound.

Axes: N examples, D features, H hidden units, C classes, S splits.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from neucrab_jax.measures import measure
from neucrab_jax.ops import blocks, float64, pca, stratified
from neucrab_jax.typing import Array, Key

# Examples of one step; all of them if there are fewer.
_BATCH_SIZE = 256

# Features that keep no more dimensions than one of these have a program of its
# own: its time is that of the products, and a bucket is twice as wide.
_FEW_DIMENSIONS = (16, 32, 64)


class _Classifier(nn.Module):
  """q(y | x): a perceptron with one hidden layer."""

  num_hidden: int
  num_classes: int

  @nn.compact
  def __call__(self, x):
    return nn.Dense(self.num_classes)(nn.relu(nn.Dense(self.num_hidden)(x)))


@functools.partial(
  jax.jit, static_argnames=('num_classes', 'num_hidden', 'num_steps')
)
def _log_probabilities(
  keys, x, labels, used, learning_rate, weight_decay, *,
  num_classes, num_hidden, num_steps,
):  # fmt: skip
  """log q(y_i | x_i) of classifiers fitted to the used examples, [S, N]."""
  classifier = _Classifier(num_hidden, num_classes)
  optimizer = optax.adamw(
    optax.cosine_decay_schedule(learning_rate, num_steps),
    weight_decay=weight_decay,
  )
  batch_size = min(_BATCH_SIZE, len(x))

  def start(key):
    # As wide as a bucket: the weights' variance must not hang on the padding.
    # The layer that reads them is the second that is made.
    width = blocks.bucket(x.shape[1])
    parameters = classifier.init(key, jnp.zeros((1, width), x.dtype))
    kernel = parameters['params']['Dense_1']['kernel']
    parameters['params']['Dense_1']['kernel'] = kernel[: x.shape[1]]
    return parameters

  def fit(args):
    key, used = args
    key, key_init = jax.random.split(key)
    parameters = start(key_init)

    def draw(i):
      return jax.random.choice(
        jax.random.fold_in(key, i), len(x), (batch_size,), p=used / used.sum()
      )

    batches = jax.vmap(draw)(jnp.arange(num_steps))

    def step(i, state):
      parameters, optimizer_state = state
      batch = batches[i]

      def loss_of(parameters):
        logits: Any = classifier.apply(parameters, x[batch])
        return jnp.mean(
          optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch])
        )

      gradient = jax.grad(loss_of)(parameters)
      updates, optimizer_state = optimizer.update(
        gradient, optimizer_state, parameters
      )
      return optax.apply_updates(parameters, updates), optimizer_state

    parameters, _ = jax.lax.fori_loop(
      0, num_steps, step, (parameters, optimizer.init(parameters))
    )
    logits: Any = classifier.apply(parameters, x)
    return -optax.softmax_cross_entropy_with_integer_labels(logits, labels)

  return jax.lax.map(fit, (keys, used))


def mutual_information(
  *,
  features: Float[Array, 'N D'],
  labels: Int[Array, 'N'],
  key: Key,
  energy: float = 0.8,
  num_hidden: int = 128,
  num_steps: int = 400,
  learning_rate: float = 3e-3,
  weight_decay: float = 1e-2,
  num_splits: int = 5,
) -> measure.Score:
  """How many nats the features tell of the label, at least.

      I(X; Y) = H(Y) − H(Y | X) ≥ H(Y) + E log q(y | x)

  for any q, here a perceptron with one hidden layer, fitted to three quarters
  of the examples and judged on the rest. Of the variational bounds this one has
  the least variance: as H(Y) is known, nothing but the log-loss is estimated.

  Args:
    features: [N, D].
    labels: [N], integers from 0 to C − 1.
    key: of the splits and the perceptrons.
    energy: the share of the variance that PCA keeps, in (0, 1]; 1 for all.
    num_hidden: H.
    num_steps: of AdamW, on 256 examples each.
    learning_rate: at the first step; it falls to zero as a cosine does.
    weight_decay: of AdamW.
    num_splits: S.

  Returns:
    The mean bound over splits, in nats and at most H(Y), and the standard
    deviation over splits.

  Reference:
    Barber and Agakov, "The IM Algorithm: A Variational Approach to Information
    Maximization", NeurIPS 2003; Poole et al., "On Variational Bounds of Mutual
    Information", ICML 2019, section 2.1. Li et al., "Ranking Neural
    Checkpoints", CVPR 2021, section 3.1, measures it; their estimator's budget
    is not known.
  """
  key_splits, key_fits = jax.random.split(key)
  held_out = stratified.held_out(key_splits, labels, num_splits=num_splits)
  x = float64.standard(features)
  z = np.asarray(pca.transform(pca.fit(x, energy=energy), x))
  del x  # As large as the features.
  # One scale for all: the components' own sizes are what they know.
  scale = np.sqrt(np.mean(z**2, dtype=np.float64))
  num_classes = int(np.max(labels)) + 1
  width = next(
    (few for few in _FEW_DIMENSIONS if few >= z.shape[1]),
    blocks.bucket(z.shape[1]),
  )
  z = blocks.pad(z, (len(z), width), copy=True)
  for rows in float64.row_blocks(*z.shape):
    z[rows] = z[rows] / (scale if scale > 0 else 1)  # In f64.
  logs = _log_probabilities(
    jax.random.split(key_fits, num_splits),
    z,
    np.asarray(labels),
    (~held_out).astype(np.float32),
    learning_rate,
    weight_decay,
    num_classes=num_classes,
    num_hidden=num_hidden,
    num_steps=num_steps,
  )
  logs = np.asarray(logs, np.float64)
  shares = np.bincount(labels) / len(labels)
  bounds = np.array(
    [row[chosen].mean() for row, chosen in zip(logs, held_out, strict=True)]
  )
  surprise = -np.log(shares)[labels]  # Its mean is H(Y).
  changes = held_out * (logs - bounds[:, None])
  changes *= len(labels) / held_out.sum(axis=1, keepdims=True)
  std = bounds.std(ddof=1)
  return measure.Score(
    surprise.mean() + bounds.mean(),
    influence=surprise + changes.mean(axis=0),
    # Each split has a perceptron of its own.
    noise=float(std / np.sqrt(num_splits)),
    std=std,
  )


MEASURE = measure.Measure(
  mutual_information,
  bounds=lambda num_classes: (-np.inf, np.log(num_classes)),
  variant='Barber–Agakov bound, on held-out quarters',
  leaves_out=True,
  spread='standard deviation over splits',
  limits={
    'energy': (0.0, 1.0),
    'num_hidden': (1, None),
    'num_steps': (1, None),
    'learning_rate': (1e-6, 1.0),
    'weight_decay': (0.0, None),
    'num_splits': (3, None),
  },
)
