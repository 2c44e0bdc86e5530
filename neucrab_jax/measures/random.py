# SPDX-License-Identifier: Apache-2.0
"""Random: a score that knows nothing, the control of all controls.

Axes: N examples, D features, R weightings.
"""

import zlib

import jax
import numpy as np

from neucrab_jax.measures import inputs

VARIANT = 'uniform in [0, 1]'
SPREAD = 'standard deviation over draws'
LIMITS: dict = {}


def random(
  *, features: jax.Array, key: jax.Array, example_weights: jax.Array
) -> inputs.Score:
  """A number drawn from the seed and the bytes of the features.

  Args:
    features: [N, D], of which only the checksum counts: the same checkpoint has
      the same score, and another another.
    key: of the draw.
    example_weights: [R, N]; each weighting draws anew.

  Returns:
    [R], in [0, 1], and the standard deviation of such draws.
  """
  checksum = zlib.crc32(np.ascontiguousarray(features))
  key = jax.random.fold_in(key, checksum)
  draws = jax.random.uniform(key, (len(example_weights),))
  return inputs.Score(draws, np.sqrt(1 / 12))
