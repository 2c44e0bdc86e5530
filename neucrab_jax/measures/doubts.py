# SPDX-License-Identifier: Apache-2.0
"""What makes a score say nothing of a checkpoint: one check for all of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neucrab_jax.measures import measure
from neucrab_jax.ops import blas

# Scores as near to a bound, as a share of it, are at it.
_AT_BOUND = 1e-6


def find(
  judge: measure.Measure,
  function: Callable[..., Any],
  arguments: Mapping[str, Any],
  score: float,
  *,
  stderr: float,
) -> tuple[str, ...]:
  """Warnings of a score that says nothing of the checkpoint."""
  if not judge.sees_examples:
    return ()
  labels = arguments['labels']
  low, high = judge.bounds(int(labels.max()) + 1)
  for bound, name in ((low, 'least'), (high, 'largest')):
    near = _AT_BOUND * max(abs(bound), 1)
    if np.isfinite(bound) and abs(score - bound) <= near:
      return (
        f'{bound:.4g} is the {name} score that there can be: checkpoints that '
        'have it cannot be told apart.',
      )
  features = arguments.get('features')
  # Only with as many dimensions as examples can any labels be explained; what
  # is judged on examples left out is not misled by that.
  if features is None or features.shape[1] < len(labels) or judge.leaves_out:
    return ()
  if 'key' in judge.parameters:
    return ()
  permuted = np.random.default_rng(0).permutation(labels)
  with blas.one_thread():
    other = measure.as_score(function(**{**arguments, 'labels': permuted}))
  if score > other.value + stderr:
    return ()
  return (
    f'Permuted labels score {other.value:.4g}, no less: with '
    f'{features.shape[1]} dimensions for {len(labels)} examples it says '
    'nothing of the labels.',
  )
