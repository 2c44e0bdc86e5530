# SPDX-License-Identifier: Apache-2.0
"""Number of parameters: the ranking by size, a control that sees no example."""

from neucrab_jax.measures import measure


def num_parameters(*, num_parameters: float) -> measure.Score:
  """How many trainable numbers the checkpoint has.

  Args:
    num_parameters: of the checkpoint.

  Returns:
    The number itself.

  Reference:
    On the usual collections, sorting by size beats every measure: "How NOT to
    benchmark your SITE metric", 2026.
  """
  return measure.Score(num_parameters, std=0.0)


MEASURE = measure.Measure(
  num_parameters,
  variant='of the restored network, its head included',
  spread='standard error over examples: none, as it sees no example',
)
