# SPDX-License-Identifier: Apache-2.0
"""Scores a checkpoint by a measure, with how sure the score is.

How sure a score is comes from its influence function, for about the price of
the score. A measure that has none, or any if asked for it, is called again on
resampled examples; one that sees no examples is not.

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
from neucrab_jax.measures import (
  columns,
  doubts,
  inputs,
  measure,
  registry,
  resampling,
)
from neucrab_jax.ops import blas, stratified
from neucrab_jax.typing import Array


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """A measure's score of one checkpoint.

  Attributes:
    score: larger is better.
    std: what `spread(name)` says, which may be less than all there is to it.
    stderr: the standard error: how far the score of as many new examples of
      each class, and of another seed, would be; None if the measure sees no
      examples and has no randomness.
    influence: [N], of mean zero in each class: the variance of the score, or of
      a difference of two on the same examples, is its mean square by N. None
      where it was resampled instead.
    noise: the part of `stderr` that is the measure's own randomness.
    resamples: the scores of resampled examples, if it was; those of two
      checkpoints on the same task are paired.
    warnings: what a reader of the score should know.
  """

  score: float
  std: float | None
  stderr: float | None = None
  influence: np.ndarray | None = None
  noise: float = 0.0
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
  columns.check_same_rows(labels=labels, **given)
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


def _resample(
  judge: measure.Measure,
  function: Callable[..., Any],
  arguments: Mapping[str, Any],
  **draws: int,
) -> np.ndarray:
  """The scores of resampled examples; what they warn of, the first call did."""
  chosen = resampling.halves if judge.leaves_out else resampling.copies
  scores = []
  for rows in chosen(arguments['labels'], **draws):
    resampled = {
      key: value[rows] if isinstance(value, np.ndarray) else value
      for key, value in arguments.items()
    }
    with blas.one_thread():
      scores.append(measure.as_score(function(**resampled)).value)
  return np.asarray(scores, np.float64)


class _Prepared(NamedTuple):
  """A measure, and what it is called with.

  Attributes:
    judge: the measure.
    function: its function, with the options.
    arguments: of the function.
    examples: [n], which of all they are of; None for all.
    warnings: what a reader of the score should know of the inputs.
  """

  judge: measure.Measure
  function: Callable[..., Any]
  arguments: dict[str, Any]
  examples: np.ndarray | None
  warnings: tuple[str, ...]


def _prepare(
  name: str, options: Mapping[str, Any], *, seed: int, **given: Any
) -> _Prepared:
  registry.check_options(name, options)
  resampling.check_seed(seed)
  judge = registry.find(name)
  arguments, told = check_inputs(name, **given)
  examples = None
  n, most = len(arguments['labels']), judge.most_examples
  if most is not None and n > most:
    # The same for all checkpoints of a task, whose labels are the same.
    most = max(most, int(arguments['labels'].max()) + 1)
    examples = stratified.sample(arguments['labels'], num_examples=most)
    arguments = {
      k: v[examples] if isinstance(v, np.ndarray) else v
      for k, v in arguments.items()
    }
    told += (
      f'{name} compares all pairs of examples: {most:,} of {n:,} were taken, '
      'of each class its share.',
    )
  arguments = {k: v for k, v in arguments.items() if k in judge.parameters}
  if 'key' in judge.parameters:
    arguments['key'] = jax.random.key(seed)
  function = functools.partial(judge.function, **options)
  return _Prepared(judge, function, arguments, examples, told)


def _call(
  name: str, function: Callable[..., Any], arguments: Mapping[str, Any]
) -> measure.Score:
  """What the measure says, which is a number."""
  with blas.one_thread():
    found = measure.as_score(function(**arguments))
  if np.shape(found.value) or not np.isfinite(found.value):
    raise ValueError(f'{name} came to {found.value}: no score to rank by.')
  return found


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
  num_resamples: int = 0,
  **options: Any,
) -> Evaluation:
  """Scores a checkpoint, with how sure the score is and what to know of it.

  >>> labels = np.arange(60) % 3
  >>> features = np.stack([20 * labels, np.arange(60)], axis=1)
  >>> found = evaluate('lfc', labels=labels, features=features)
  >>> round(found.score, 2), round(found.stderr, 2), found.influence.shape
  (0.47, 0.03, (60,))

  Args:
    name: one of `names()`.
    labels: [N], integers from 0 to C − 1.
    features: [N, D], for measures that take them.
    source_probs: [N, Z], for measures that take them.
    num_parameters: of the checkpoint, for the control of that name.
    upstream_accuracy: of the checkpoint, for the control of that name.
    fine_tune: trains the checkpoint, for `early_stopping`.
    seed: of the resamples, and of whatever is random in the measure.
    num_resamples: how often the examples are resampled and scored again; 0 to
      go by the influence function, where there is one.
    **options: of the measure; see `default_options`.

  Raises:
    ValueError: if the measure or an option is unknown, or an array is not what
      it should be.
  """
  resampling.check_num_resamples(num_resamples)
  judge, function, arguments, examples, told = _prepare(
    name,
    options,
    seed=seed,
    labels=labels,
    features=features,
    source_probs=source_probs,
    num_parameters=num_parameters,
    upstream_accuracy=upstream_accuracy,
    fine_tune=fine_tune,
  )
  found = _call(name, function, arguments)
  influence, resamples, stderr = None, np.zeros(0), found.noise or None
  if judge.sees_examples:
    if found.influence is None:
      num_resamples = num_resamples or resampling.NUM_RESAMPLES
    if num_resamples:
      resamples = _resample(
        judge, function, arguments, seed=seed, num_resamples=num_resamples
      )
      stderr = float(resamples.std(ddof=1))
    else:
      with blas.one_thread():
        influence = measure.influence(found)
      influence = resampling.within_classes(influence, arguments['labels'])
      variance = np.mean(influence**2) / len(influence)
      stderr = float(np.sqrt(variance + found.noise**2))
      influence = resampling.of_all(influence, examples, np.shape(labels)[0])
  std = stderr if found.std is None else float(found.std)
  spreads = np.array([s for s in (std, stderr) if s is not None])
  if not (np.isfinite(resamples).all() and np.isfinite(spreads).all()):
    raise ValueError(
      f'{name} came to {found.value}, but how sure it is, to ± {std} and a '
      f'standard error of {stderr}: no score to rank by.'
    )
  told += doubts.find(
    judge, function, arguments, float(found.value), stderr=stderr or 0.0
  )
  return Evaluation(
    float(found.value),
    std,
    stderr,
    influence=influence,
    noise=float(found.noise),
    resamples=tuple(resamples.tolist()),
    warnings=(*told, *found.warnings),
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
  >>> features = np.stack([100 * labels, np.arange(60)], axis=1)
  >>> round(score('lfc', labels=labels, features=features), 2)
  0.71
  """
  _, function, arguments, _, told = _prepare(
    name,
    options,
    seed=seed,
    labels=labels,
    features=features,
    source_probs=source_probs,
    num_parameters=num_parameters,
    upstream_accuracy=upstream_accuracy,
    fine_tune=fine_tune,
  )
  found = _call(name, function, arguments)
  for message in (*told, *found.warnings):
    warnings.warn(message, measure.MeasureWarning, stacklevel=2)
  return float(found.value)
