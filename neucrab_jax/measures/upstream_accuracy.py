# SPDX-License-Identifier: Apache-2.0
"""Accuracy on what it was pre-trained for: a control that sees no example."""

from neucrab_jax.measures import measure


def upstream_accuracy(*, upstream_accuracy: float) -> measure.Score:
  """The checkpoint's accuracy on its upstream task.

  Args:
    upstream_accuracy: of the checkpoint, where its spec knows one.

  Returns:
    The accuracy itself.

  Reference:
    Kornblith, Shlens and Le, "Do Better ImageNet Models Transfer Better?",
    CVPR 2019.
  """
  return measure.Score(upstream_accuracy, std=0.0)


MEASURE = measure.Measure(
  upstream_accuracy,
  variant='as the spec of the checkpoint says',
  spread='standard error over examples: none, as it sees no example',
)
