# SPDX-License-Identifier: Apache-2.0
"""What a score would be on other examples of each class.

To first order from its influence function, or by scoring copies of examples
again. Draws depend on the seed and the labels alone, so that those of two
checkpoints are paired.

Axes: N examples, C classes, n chosen, R resamples.

Reference:
  Rubin, "The Bayesian Bootstrap", Annals of Statistics 1981; Efron, "The
  Jackknife, the Bootstrap and Other Resampling Plans", 1982.
"""

import zlib
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from neucrab_jax.typing import Array

# Of a measure that has no influence function: enough for a standard error to a
# sixth of itself, 1 / sqrt(2 (R - 1)).
NUM_RESAMPLES = 20
# More say nothing more, and don't fit in memory.
_MAX_RESAMPLES = 100_000


def check_num_resamples(num_resamples: int) -> None:
  """Checks the number of resamples.

  Raises:
    ValueError: if it is neither 0 nor at least 2, or far too large.
  """
  integer = isinstance(num_resamples, int | np.integer)
  if not integer or num_resamples < 0 or num_resamples == 1:
    raise ValueError(
      'num_resamples must be 0, for first order, or at least 2, not '
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


def _uniform(
  labels: np.ndarray, *, seed: int, num_resamples: int
) -> np.ndarray:
  """Draws from [0, 1), [R, N] f64."""
  key = jax.random.fold_in(jax.random.key(seed), len(labels))
  draws = jax.random.uniform(key, (num_resamples, len(labels)), np.float32)
  return np.asarray(draws, np.float64)


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
  draws = _uniform(labels, seed=seed, num_resamples=num_resamples)
  order = np.argsort(labels, kind='stable')
  counts = np.bincount(labels)
  starts = np.cumsum(counts) - counts
  places = starts[labels] + np.floor(draws * counts[labels]).astype(int)
  return order[places]


def halves(
  labels: Int[np.ndarray, 'N'], *, seed: int, num_resamples: int
) -> list[Int[np.ndarray, 'n']]:
  """Half of the examples of each class, drawn without replacement.

  Of a mean, halves have the variance that N new examples would give: that of
  N/2, less the half that they share with the whole.

  Returns:
    For each of R resamples the indices, ascending; of a class with an odd
    number one more in every second resample, of a single example always that.
  """
  draws = _uniform(labels, seed=seed, num_resamples=num_resamples)
  counts = np.bincount(labels)
  starts = np.cumsum(counts) - counts
  chosen = []
  for resample, draw in enumerate(draws):
    order = np.lexsort((draw, labels))  # By class, at random within it.
    place = np.arange(len(labels)) - starts[labels[order]]
    size = np.maximum((counts + resample % 2) // 2, 1)
    chosen.append(np.sort(order[place < size[labels[order]]]))
  return chosen


def within_classes(influence: Array, labels: np.ndarray) -> np.ndarray:
  """The influence of examples given how many there are of each class.

  Which class an example is of was not drawn: all checkpoints get the same
  labels. Unbiased, as a variance of few is by Bessel's correction.
  """
  influence = np.asarray(influence, np.float64)
  counts = np.bincount(labels)
  means = np.bincount(labels, influence) / counts
  bessel = np.sqrt(counts / np.maximum(counts - 1, 1))
  return (influence - means[labels]) * bessel[labels]


def of_all(
  influence: np.ndarray, examples: np.ndarray | None, num_examples: int
) -> np.ndarray:
  """[N], of a sample's [n]: who was left out has none."""
  if examples is None:
    return influence
  # So that its mean square by N is that of the sample by n.
  whole = np.zeros(num_examples)
  whole[examples] = influence * (num_examples / len(examples))
  return whole


def first_order(
  score: float,
  influence: Float[np.ndarray, 'N'],
  *,
  noise: float = 0.0,
  seed: int = 0,
  num_resamples: int = NUM_RESAMPLES,
) -> tuple[float, ...]:
  """Scores of the Bayesian bootstrap, to first order in examples' weights.

  Args:
    score: of the examples as they are.
    influence: [N], of mean zero; see `measure.Score`.
    noise: the standard error that is no example's doing.
    seed: of the draws.
    num_resamples: R.

  Returns:
    R scores.
  """
  n = len(influence)
  rng = np.random.default_rng((seed, n))
  weights = rng.exponential(size=(num_resamples, n))
  weights /= weights.mean(axis=1, keepdims=True)
  # A stream of its own: noise is no other checkpoint's.
  own = np.random.default_rng((seed, n, zlib.crc32(influence.tobytes())))
  extra = noise * own.standard_normal(num_resamples)
  return tuple((score + weights @ influence / n + extra).tolist())
