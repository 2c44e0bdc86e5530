# SPDX-License-Identifier: Apache-2.0
"""What a measure is, and what it says: the types that all measures share.

Axes: N examples, R weightings.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from neucrab_jax.typing import Array

# What a measure can ask for, and why one that it needs may be missing.
GIVEN = {
  'features': '',
  'source_probs': 'Only a checkpoint with a classification head has them.',
  'num_parameters': 'Files of features do not say.',
  'upstream_accuracy': 'Only the spec of a checkpoint can say.',
  'fine_tune': 'Only a checkpoint on a task can be fine-tuned.',
}
# Those with a row for each example.
PER_EXAMPLE = ('features', 'source_probs')
_INPUTS = (*GIVEN, 'labels', 'key', 'example_weights')


class MeasureWarning(UserWarning):
  """A score was found, but its reader should know something about it."""


class Score(NamedTuple):
  """What a measure says of one checkpoint.

  Attributes:
    value: [], larger is better; or [R], one for each weighting of the examples.
    std: [], how sure it is: what the measure's `spread` says. None for the
      standard error over resamples.
    warnings: what a reader of the score should know.
  """

  value: Array | np.number | float
  std: Array | np.number | float | None = None
  warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Measure:
  """A measure: its function, and what is said of it.

  The function's parameters say what it takes: those of `features`, `labels`,
  `source_probs`, `key`, `num_parameters`, `upstream_accuracy`, `fine_tune` and
  `example_weights` that it needs, then its options. It returns a scalar, or a
  `Score` if it has a spread of its own or something to warn of; with
  `example_weights` [R, N] the scores [R] of R weightings, of which the first is
  all ones.

  Attributes:
    function: keyword-only.
    variant: which of its published forms it is; or, where it has an option
      `variant`, each form by its name.
    spread: what the `std` of its scores is.
    limits: the smallest and the largest value of each option, None for no
      bound; or the names that it takes.
  """

  function: Callable[..., Any]
  variant: str | Mapping[str, str]
  spread: str = 'standard error over resampled examples'
  limits: Mapping[str, tuple] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def parameters(self) -> Mapping[str, Any]:
    """Each parameter's default."""
    signature = inspect.signature(self.function)
    return {name: p.default for name, p in signature.parameters.items()}

  @property
  def options(self) -> dict[str, Any]:
    """Each option's default."""
    return {k: v for k, v in self.parameters.items() if k not in _INPUTS}


def as_score(found: Any) -> Score:
  """What a measure returned: a `Score`, or its value alone."""
  return found if isinstance(found, Score) else Score(found)


def mean_over_examples(
  values: Float[Array, 'N'] | Float[Array, 'R N'],
  example_weights: Float[Array, 'R N'],
) -> Score:
  """The score that is a mean of one value for each example.

  Args:
    values: [N]; or [R, N] if they depend on the weights.
    example_weights: [R, N], of mean one.

  Returns:
    [R] means, and the standard error of the first.
  """
  values = np.asarray(values, np.float64)
  first = values.reshape(-1, values.shape[-1])[0]
  means = np.mean(values * np.asarray(example_weights), axis=1)
  return Score(means, first.std(ddof=1) / np.sqrt(first.size))
