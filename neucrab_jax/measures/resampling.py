# SPDX-License-Identifier: Apache-2.0
"""What a score would be on other examples: the Bayesian bootstrap.

Each resample weights the examples by Exp(1) draws of mean one, or, for a
measure that takes no weights, copies examples within each class. They depend on
the seed and the examples alone, so that those of two checkpoints are paired.

Axes: N examples, R resamples.

Reference:
  Rubin, "The Bayesian Bootstrap", Annals of Statistics 1981.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

# Enough for a standard error to a sixth of itself: 1 / sqrt(2 (R - 1)).
NUM_RESAMPLES = 20
# More say nothing more, and don't fit in memory.
_MAX_RESAMPLES = 100_000

# No weight is zero: an example that vanishes may be the last of its class.
_SMALLEST_WEIGHT = 1e-6


def check_num_resamples(num_resamples: int) -> None:
  """Checks the number of resamples.

  Raises:
    ValueError: if it is neither 0 nor at least 2, or far too large.
  """
  integer = isinstance(num_resamples, int | np.integer)
  if not integer or num_resamples < 0 or num_resamples == 1:
    raise ValueError(
      'num_resamples must be 0, for no resampling, or at least 2, not '
      f'{num_resamples!r}.'
    )
  if num_resamples > _MAX_RESAMPLES:
    raise ValueError(
      f'num_resamples must be at most {_MAX_RESAMPLES:,}, not '
      f'{num_resamples:,}.'
    )


def check_seed(seed: Any) -> None:
  """Checks a seed.

  Raises:
    ValueError: if it is no whole number of 32 bits, of which JAX would take
      a part without a word.
  """
  integer = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
  if not integer or not 0 <= seed < 1 << 32:
    raise ValueError(
      f'A seed must be a whole number from 0 to 2^32 - 1, not {seed!r}.'
    )


def weightings(
  num_examples: int, *, seed: int, num_resamples: int
) -> Float[np.ndarray, '{1+num_resamples} {num_examples}']:
  """Weights of examples: first ones, for the score, then those of resamples.

  Returns:
    [1 + R, N] f64, positive, of mean one.
  """
  key = jax.random.fold_in(jax.random.key(seed), num_examples)
  draws = jax.random.exponential(
    key, (num_resamples, num_examples), jnp.float32
  )
  draws = np.maximum(np.asarray(draws, np.float64), _SMALLEST_WEIGHT)
  draws /= draws.mean(axis=1, keepdims=True)
  return np.concatenate([np.ones((1, num_examples)), draws])


def copies(
  labels: Int[np.ndarray, 'N'], *, seed: int, num_resamples: int
) -> Int[np.ndarray, '{num_resamples} N']:
  """Examples drawn with replacement, as many of each class as there are.

  Args:
    labels: [N], integers from 0 to C − 1.
    seed: of the draws.
    num_resamples: R.

  Returns:
    [R, N] indices; the label at each place is that of `labels`.
  """
  key = jax.random.fold_in(jax.random.key(seed), len(labels))
  shape = (num_resamples, len(labels))
  draws = np.asarray(jax.random.uniform(key, shape, jnp.float32), np.float64)
  order = np.argsort(labels, kind='stable')
  counts = np.bincount(labels)
  starts = np.cumsum(counts) - counts
  places = starts[labels] + np.floor(draws * counts[labels]).astype(int)
  return order[places]
