# SPDX-License-Identifier: Apache-2.0
"""An order that was fixed beforehand, as the scores that put checkpoints so."""

import collections

from neucrab_jax import checkpoints
from neucrab_jax.ranking.predictions import Prediction

# Where the scores are from.
FROM_CONFIG = 'the config'


def read(order: str) -> dict[str, Prediction]:
  """Scores that put checkpoints in an order that was fixed beforehand.

  Args:
    order: a group, or names separated by commas, from worst to best; with '-'
      in front, from best to worst.

  Raises:
    ValueError: if a name is there twice.
  """
  chosen = order.removeprefix('-').strip()
  names = (
    list(checkpoints.names(chosen))
    if chosen in checkpoints.groups()
    else [part.strip() for part in chosen.split(',') if part.strip()]
  )
  (name, count), *_ = collections.Counter(names).most_common(1) or [('', 0)]
  if count > 1:
    raise ValueError(f'{name!r} is in the fixed order {count} times.')
  sign = -1.0 if order.startswith('-') else 1.0
  return {
    name: Prediction(sign * place, source=FROM_CONFIG)
    for place, name in enumerate(names)
  }
