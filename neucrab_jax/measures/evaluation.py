# SPDX-License-Identifier: Apache-2.0
"""Scores a checkpoint by a measure, with how sure the score is.

How sure a score is comes from resampled examples: a measure that takes
`example_weights` gets all weightings at once. Any other measure of features or
source_probs is called again on copies of examples; one that takes neither is
not resampled.

Axes: N examples, D features, Z source classes, R resamples.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from neucrab_jax import spelling
from neucrab_jax.measures import inputs, measure, registry, resampling
from neucrab_jax.typing import Array


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """A measure's score of one checkpoint.

  Attributes:
    score: larger is better.
    std: how sure it is: what `spread(name)` says; None if that is over
      resamples, and there are none.
    stderr: the standard deviation over resamples; None if there are none.
    resamples: the scores of resampled examples; those of two checkpoints on the
      same task are paired.
    warnings: what a reader of the score should know.
  """

  score: float
  std: float | None
  stderr: float | None = None
  resamples: tuple[float, ...] = ()
  warnings: tuple[str, ...] = ()


class CheckedInputs(NamedTuple):
  """What a measure is to be given.

  Attributes:
    arguments: the labels, and the inputs that the measure takes.
    warnings: what a reader of the score should know of them.
  """

  arguments: dict[str, Any]
  warnings: tuple[str, ...]


def lacks(name: str, **given: Any) -> str | None:
  """Says which input a measure needs that isn't given, or None.

  Args:
    name: one of `names()`.
    **given: what there is of `features`, `source_probs` and the rest; None
      counts as not given.
  """
  parameters = registry.find(name).parameters
  for needed, why in measure.GIVEN.items():
    if needed in parameters and given.get(needed) is None:
      several = needed in measure.PER_EXAMPLE
      absent = 'and there are none' if several else 'which is not known'
      return f'{name} needs {needed}, {absent}. {why}'.rstrip()
  return None


def check_inputs(
  name: str, *, labels: ArrayLike, **given: Any
) -> CheckedInputs:
  """Checks what a measure is to be given; the one check all of them share.

  Args:
    name: one of `names()`.
    labels: [N].
    **given: of `features`, `source_probs` and the rest what there is.

  Raises:
    ValueError: if one that it needs is missing, or isn't what it should be.
  """
  unknown = set(given) - set(measure.GIVEN)
  if unknown:
    raise spelling.unknown('input', min(unknown), measure.GIVEN)
  checked = {'labels': inputs.check_labels(labels)}
  if missing := lacks(name, **given):
    raise ValueError(missing)
  rows = {'labels': checked['labels'].value}
  parameters = registry.find(name).parameters
  for needed in measure.GIVEN:
    if needed not in parameters:
      continue
    value = given[needed]
    if needed == 'features':
      checked[needed] = inputs.check_features(value, **rows)
    elif needed == 'source_probs':
      checked[needed] = inputs.check_source_probs(value, **rows)
    elif needed == 'fine_tune':
      checked[needed] = inputs.Checked(value)
    else:
      checked[needed] = inputs.Checked(inputs.check_number(needed, value))
  return CheckedInputs(
    {k: found.value for k, found in checked.items()},
    tuple(text for found in checked.values() for text in found.warnings),
  )


def _score_copies(
  function: Callable[..., Any],
  arguments: Mapping[str, Any],
  copies: np.ndarray,
) -> np.ndarray:
  """The scores of copied examples; what they warn of, the first call did."""
  scores = []
  for chosen in copies:
    copied = {
      key: value[chosen] if isinstance(value, np.ndarray) else value
      for key, value in arguments.items()
    }
    scores.append(measure.as_score(function(**copied)).value)
  return np.asarray(scores, np.float64)


def evaluate(
  name: str,
  *,
  labels: ArrayLike,
  features: ArrayLike | None = None,
  source_probs: ArrayLike | None = None,
  num_parameters: int | None = None,
  upstream_accuracy: float | None = None,
  fine_tune: Callable[..., Array] | None = None,
  seed: int = 0,
  num_resamples: int = resampling.NUM_RESAMPLES,
  **options: Any,
) -> Evaluation:
  """Scores a checkpoint, with how sure the score is and what to know of it.

  >>> labels = np.arange(60) % 3
  >>> features = np.eye(3, 8)[labels]  # the classes, and nothing else
  >>> found = evaluate('knn', labels=labels, features=features, num_resamples=4)
  >>> found.score, len(found.resamples), found.warnings
  (1.0, 4, ())

  Args:
    name: one of `names()`.
    labels: [N], integers from 0 to C − 1.
    features: [N, D], for measures that take them.
    source_probs: [N, Z], for measures that take them.
    num_parameters: of the checkpoint, for the control of that name.
    upstream_accuracy: of the checkpoint, for the control of that name.
    fine_tune: trains the checkpoint, for `early_stopping`.
    seed: of the resamples, and of whatever is random in the measure.
    num_resamples: how often the examples are resampled; 0 for not at all.
    **options: of the measure; see `default_options`.

  Raises:
    ValueError: if the measure or an option is unknown, or an array is not what
      it should be.
  """
  registry.check_options(name, options)
  resampling.check_num_resamples(num_resamples)
  resampling.check_seed(seed)
  checked = check_inputs(
    name,
    labels=labels,
    features=features,
    source_probs=source_probs,
    num_parameters=num_parameters,
    upstream_accuracy=upstream_accuracy,
    fine_tune=fine_tune,
  )
  judge = registry.find(name)
  takes = judge.parameters
  arguments = {k: v for k, v in checked.arguments.items() if k in takes}
  numbers = checked.arguments['labels']
  draws = {'seed': seed, 'num_resamples': num_resamples}
  weighted = 'example_weights' in takes
  if 'key' in takes:
    arguments['key'] = jax.random.key(seed)
  if weighted:
    arguments['example_weights'] = resampling.weightings(len(numbers), **draws)
  elif takes.keys().isdisjoint(measure.PER_EXAMPLE):
    num_resamples = 0
  function = functools.partial(judge.function, **options)
  found = measure.as_score(function(**arguments))
  values = np.asarray(found.value, np.float64).reshape(-1)
  if not weighted and num_resamples:
    copies = resampling.copies(numbers, **draws)
    values = np.append(values, _score_copies(function, arguments, copies))
  if len(values) != 1 + num_resamples:
    raise ValueError(
      f'{name} returned {np.shape(found.value)} scores for {1 + num_resamples} '
      'weightings of the examples.'
    )
  stderr = float(values[1:].std(ddof=1)) if num_resamples else None
  std = stderr if found.std is None else float(found.std)
  spreads = np.array([s for s in (std, stderr) if s is not None])
  if not (np.isfinite(values).all() and np.isfinite(spreads).all()):
    raise ValueError(
      f'{name} came to {values[0]} ± {std}, and on resampled examples from '
      f'{values.min()} to {values.max()}: no score to rank by.'
    )
  return Evaluation(
    float(values[0]),
    std,
    stderr,
    resamples=tuple(map(float, values[1:])),
    warnings=(*checked.warnings, *found.warnings),
  )


def score(
  name: str,
  *,
  labels: ArrayLike,
  features: ArrayLike | None = None,
  source_probs: ArrayLike | None = None,
  num_parameters: int | None = None,
  upstream_accuracy: float | None = None,
  fine_tune: Callable[..., Array] | None = None,
  seed: int = 0,
  **options: Any,
) -> float:
  """Scores a checkpoint: a float, larger is better; otherwise as `evaluate`.

  Nothing is resampled. What a reader should know of the score comes as
  `MeasureWarning`s.

  >>> labels = np.arange(60) % 3
  >>> score('knn', labels=labels, features=np.eye(3, 8)[labels], k=1)
  1.0
  """
  found = evaluate(
    name,
    num_resamples=0,
    labels=labels,
    features=features,
    source_probs=source_probs,
    num_parameters=num_parameters,
    upstream_accuracy=upstream_accuracy,
    fine_tune=fine_tune,
    seed=seed,
    **options,
  )
  for message in found.warnings:
    warnings.warn(message, measure.MeasureWarning, stacklevel=2)
  return found.score
