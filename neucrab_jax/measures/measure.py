# SPDX-License-Identifier: Apache-2.0
"""What a measure is, and what it says: the types that all measures share.

Axes: N examples.
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
_INPUTS = (*GIVEN, 'labels', 'key')


# Of measures that compare all pairs: minutes for features of 2,048 dimensions.
PAIRS_OF = 20_000


class MeasureWarning(UserWarning):
  """A score was found, but its reader should know something about it."""


class Score(NamedTuple):
  """What a measure says of one checkpoint.

  Attributes:
    value: [], larger is better.
    influence: [N], the empirical influence function: N times the derivative of
      the value by each example's weight, up to a constant; or what computes
      it, where that takes longer than the value. None where it is not known,
      and resampling has to tell how sure the value is.
    noise: the standard error that the measure's own randomness adds.
    std: what the measure's `spread` says; None for the standard error.
    warnings: what a reader of the score should know.

  Reference:
    Hampel, "The Influence Curve and Its Role in Robust Estimation", JASA 1974;
    Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982.
  """

  value: Array | np.number | float
  influence: Array | Callable[[], Array] | None = None
  noise: float = 0.0
  std: Array | np.number | float | None = None
  warnings: tuple[str, ...] = ()


def _unbounded(num_classes: int) -> tuple[float, float]:
  del num_classes
  return -np.inf, np.inf


@dataclasses.dataclass(frozen=True)
class Measure:
  """A measure: its function, and what is said of it.

  The function's parameters say what it takes: those of `features`, `labels`,
  `source_probs`, `key`, `num_parameters`, `upstream_accuracy` and `fine_tune`
  that it needs, then its options. It returns a scalar, or a `Score` if it knows
  its influence function, has a spread of its own or something to warn of.

  Attributes:
    function: keyword-only.
    variant: which of its published forms it is; or, where it has an option
      `variant`, each form by its name.
    spread: what the `std` of its scores is.
    leaves_out: whether it judges an example by others. Among copies it would
      find itself, so that it is resampled without them.
    bounds: from C, the least and the largest score that there can be. Where
      scores are there, they tell nothing apart.
    most_examples: of which all pairs can be compared; of more it is given a
      stratified sample. None if its cost is linear in them.
    limits: the smallest and the largest value of each option, None for no
      bound; or the names that it takes.
  """

  function: Callable[..., Any]
  variant: str | Mapping[str, str]
  spread: str = 'standard error over examples'
  leaves_out: bool = False
  bounds: Callable[[int], tuple[float, float]] = _unbounded
  most_examples: int | None = None
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

  @property
  def sees_examples(self) -> bool:
    """Whether other examples would give another score."""
    takes = self.parameters
    return 'labels' in takes and any(name in takes for name in PER_EXAMPLE)


def as_score(found: Any) -> Score:
  """What a measure returned: a `Score`, or its value alone."""
  return found if isinstance(found, Score) else Score(found)


def influence(score: Score) -> Float[np.ndarray, 'N']:
  """[N], the influence function of a score that has one."""
  found = score.influence
  return np.asarray(found() if callable(found) else found)


def mean_over_examples(values: Float[Array, 'N']) -> Score:
  """The score that is a mean of one value [N] for each example."""
  values = np.asarray(values, np.float64)
  return Score(values.mean(), influence=values - values.mean())
