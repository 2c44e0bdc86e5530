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
from neucrab_jax.measures import columns, inputs, measure, registry, resampling
from neucrab_jax.ops import pca
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
    with pca.one_lapack_thread():
      scores.append(measure.as_score(function(**resampled)).value)
  return np.asarray(scores, np.float64)


def _prepare(
  name: str, options: Mapping[str, Any], *, seed: int, **given: Any
) -> tuple[
  measure.Measure, Callable[..., Any], dict[str, Any], tuple[str, ...]
]:
  """A measure, its function, what to give it, and what to say of that."""
  registry.check_options(name, options)
  resampling.check_seed(seed)
  judge = registry.find(name)
  checked = check_inputs(name, **given)
  takes = judge.parameters
  arguments = {k: v for k, v in checked.arguments.items() if k in takes}
  if 'key' in takes:
    arguments['key'] = jax.random.key(seed)
  function = functools.partial(judge.function, **options)
  return judge, function, arguments, checked.warnings


def _call(
  name: str, function: Callable[..., Any], arguments: Mapping[str, Any]
) -> measure.Score:
  """What the measure says, which is a number."""
  with pca.one_lapack_thread():
    found = measure.as_score(function(**arguments))
  if np.shape(found.value) or not np.isfinite(found.value):
    raise ValueError(f'{name} came to {found.value}: no score to rank by.')
  return found


def _within_classes(influence: Array, labels: np.ndarray) -> np.ndarray:
  """The influence of examples given how many there are of each class.

  Which class an example is of was not drawn: all checkpoints get the same
  labels. Unbiased, as a variance of few is by Bessel's correction.
  """
  influence = np.asarray(influence, np.float64)
  counts = np.bincount(labels)
  means = np.bincount(labels, influence) / counts
  bessel = np.sqrt(counts / np.maximum(counts - 1, 1))
  return (influence - means[labels]) * bessel[labels]


# Scores as near to a bound, as a share of it, are at it.
_AT_BOUND = 1e-6


def _doubts(
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
  with pca.one_lapack_thread():
    other = measure.as_score(function(**{**arguments, 'labels': permuted}))
  if score > other.value + stderr:
    return ()
  return (
    f'Permuted labels score {other.value:.4g}, no less: with '
    f'{features.shape[1]} dimensions for {len(labels)} examples it says '
    'nothing of the labels.',
  )


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
  judge, function, arguments, told = _prepare(
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
      assert found.influence is not None
      influence = _within_classes(found.influence, arguments['labels'])
      variance = np.mean(influence**2) / len(influence)
      stderr = float(np.sqrt(variance + found.noise**2))
  std = stderr if found.std is None else float(found.std)
  spreads = np.array([s for s in (std, stderr) if s is not None])
  if not (np.isfinite(resamples).all() and np.isfinite(spreads).all()):
    raise ValueError(
      f'{name} came to {found.value}, but how sure it is, to ± {std} and a '
      f'standard error of {stderr}: no score to rank by.'
    )
  told += _doubts(
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
  _, function, arguments, told = _prepare(
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
