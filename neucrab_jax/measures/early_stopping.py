# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning stopped early: what a small budget already tells.

Axes: S seeds.
"""

from collections.abc import Callable

import jax
import numpy as np

from neucrab_jax.measures import measure
from neucrab_jax.typing import Key

# Seeds are drawn from as many.
_SEEDS = 1 << 16


def early_stopping(
  *,
  fine_tune: Callable[..., np.ndarray],
  key: Key,
  share: float = 0.05,
  steps: int = 1_000,
  learning_rate: float = 0.1,
  batch_size: int = 64,
  num_seeds: int = 3,
) -> measure.Score:
  """How well a network does after the first steps of its fine-tuning.

      score = 1/S Σ_s accuracy on the held-out examples of seed s,
              after share · T of the T steps of a trial

  Unlike the other measures it needs the network, and is not resampled: each
  seed trains on other examples already.

  Args:
    fine_tune: from a seed and the options below to [S] held-out accuracies; see
      `training.early_stopping`.
    key: of the seeds.
    share: of the steps that are taken, in (0, 1]; such as .01, .05 or .1.
    steps: T of the fine-tuning that is stopped early.
    learning_rate: before the drops of VTAB's schedule.
    batch_size: over all devices.
    num_seeds: S.

  Returns:
    The mean accuracy, in [0, 1], and the standard deviation over seeds.

  Reference:
    Li et al., "Ranking Neural Checkpoints", CVPR 2021, section 3.1.
  """
  accuracies = fine_tune(
    seed=int(jax.random.randint(key, (), 0, _SEEDS)),
    share=share,
    steps=steps,
    learning_rate=learning_rate,
    batch_size=batch_size,
    num_seeds=num_seeds,
  )
  std = np.std(accuracies, ddof=1)
  return measure.Score(
    np.mean(accuracies), noise=float(std / np.sqrt(num_seeds)), std=std
  )


MEASURE = measure.Measure(
  early_stopping,
  variant='held-out accuracy of the whole network, fine-tuned by SGD',
  spread='standard deviation over seeds, each with held-out examples of its '
  'own',
  limits={
    'share': (0.0, 1.0),
    'steps': (1, None),
    'learning_rate': (0.0, None),
    'batch_size': (1, None),
    'num_seeds': (2, None),
  },
)
