# SPDX-License-Identifier: Apache-2.0
"""Random: a score that knows nothing, the control of all controls.

Axes: N examples, D features.
"""

import zlib

import jax
import numpy as np
from jaxtyping import Float

from neucrab_jax.measures import measure
from neucrab_jax.typing import Array, Key


def random(
  *,
  features: Float[Array, 'N D'],
  key: Key,
) -> measure.Score:
  """A number drawn from the seed and the bytes of the features.

  Args:
    features: [N, D], of which only the checksum counts: the same checkpoint has
      the same score, and another another.
    key: of the draw.

  Returns:
    A number in [0, 1], and the standard deviation of such draws.
  """
  checksum = zlib.crc32(np.ascontiguousarray(features).data)
  draw = jax.random.uniform(jax.random.fold_in(key, checksum))
  # That of a uniform draw: no example has a part in it.
  std = float(np.sqrt(1 / 12))
  return measure.Score(draw, noise=std, std=std)


MEASURE = measure.Measure(
  random,
  variant='uniform in [0, 1]',
  spread='standard deviation over draws',
)
