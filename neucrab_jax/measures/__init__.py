# SPDX-License-Identifier: Apache-2.0
"""Measures of transferability: pure functions of arrays, larger is better.

A measure is one file: a function of its own name that takes what it needs of
`features`, `labels`, `source_probs`, `key`, `num_parameters`,
`upstream_accuracy` and `fine_tune`, then its options; `VARIANT`, which of its
published forms it is; `LIMITS`, the smallest and the largest value of each
option, or the names it takes. It returns a scalar; or an `inputs.Score` if it
has a spread of its own, which `SPREAD` then names.

How sure a score is comes from resampled examples: a measure that takes
`example_weights` [R, N] returns the scores [R] of R weightings, of which the
first is all ones. Any other measure of features or source_probs is called again
on copies of examples; one that takes neither is not resampled.
"""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from neucrab_jax import spelling
from neucrab_jax.measures import inputs, resampling
from neucrab_jax.measures.inputs import MeasureWarning as MeasureWarning
from neucrab_jax.measures.resampling import NUM_RESAMPLES as NUM_RESAMPLES
from neucrab_jax.measures.resampling import (
  check_num_resamples as check_num_resamples,
)

# Name → module; imported when first used.
_MEASURES = {
  'nleep': 'neucrab_jax.measures.nleep',
  'leep': 'neucrab_jax.measures.leep',
  'linear': 'neucrab_jax.measures.linear',
  'early_stopping': 'neucrab_jax.measures.early_stopping',
  'mutual_information': 'neucrab_jax.measures.mutual_information',
  'class_separation': 'neucrab_jax.measures.class_separation',
  'nce': 'neucrab_jax.measures.nce',
  'h_score': 'neucrab_jax.measures.h_score',
  'h_score_regularized': 'neucrab_jax.measures.h_score_regularized',
  'logme': 'neucrab_jax.measures.logme',
  'transrate': 'neucrab_jax.measures.transrate',
  'gbc': 'neucrab_jax.measures.gbc',
  'sfda': 'neucrab_jax.measures.sfda',
  'parc': 'neucrab_jax.measures.parc',
  'lfc': 'neucrab_jax.measures.lfc',
  'pactran_gaussian': 'neucrab_jax.measures.pactran_gaussian',
  'pactran_dirichlet': 'neucrab_jax.measures.pactran_dirichlet',
  'knn': 'neucrab_jax.measures.knn',
  'ridge_loo': 'neucrab_jax.measures.ridge_loo',
  'random': 'neucrab_jax.measures.random',
  'num_parameters': 'neucrab_jax.measures.num_parameters',
  'upstream_accuracy': 'neucrab_jax.measures.upstream_accuracy',
}
# What a measure can ask for, and why one that it needs may be missing.
_GIVEN = {
  'features': '',
  'source_probs': 'Only a checkpoint with a classification head has them.',
  'num_parameters': 'Files of features do not say.',
  'upstream_accuracy': 'Only the spec of a checkpoint can say.',
  'fine_tune': 'Only a checkpoint on a task can be fine-tuned.',
}
_PER_EXAMPLE = ('features', 'source_probs')
_INPUTS = (*_GIVEN, 'labels', 'key', 'example_weights')
_RESAMPLING_SPREAD = 'standard error over resampled examples'


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


def names() -> tuple[str, ...]:
  """The known measures."""
  return tuple(_MEASURES)


def _module(name: str) -> Any:
  if name not in _MEASURES:
    raise spelling.unknown('measure', name, names())
  return importlib.import_module(_MEASURES[name])


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
  return inspect.signature(getattr(_module(name), name)).parameters


def variant(name: str, options: Mapping[str, Any]) -> str:
  """Which of a measure's published forms is meant, in words."""
  variants = _module(name).VARIANT
  if isinstance(variants, str):
    return variants
  return f'{options["variant"]} ({variants[options["variant"]]})'


def spread(name: str) -> str:
  """What a measure's `std` is, such as 'standard deviation over seeds'."""
  return getattr(_module(name), 'SPREAD', _RESAMPLING_SPREAD)


def default_options(name: str) -> dict[str, Any]:
  """A measure's options and their defaults.

  Raises:
    ValueError: if the measure is unknown.
  """
  return {
    option: parameter.default
    for option, parameter in _parameters(name).items()
    if option not in _INPUTS
  }


def check_options(name: str, options: Mapping[str, Any]) -> None:
  """Checks a measure's name and its options, before any work.

  Raises:
    ValueError: if one is unknown, of another type than its default, or out of
      bounds.
  """
  defaults = default_options(name)
  limits = _module(name).LIMITS
  for option, value in options.items():
    if option not in defaults:
      raise spelling.unknown(f'option of {name}', option, defaults)
    if isinstance(defaults[option], str):
      if value not in _module(name).LIMITS[option]:
        raise spelling.unknown(
          f'{option} of {name}', str(value), _module(name).LIMITS[option]
        )
      continue
    number = int if isinstance(defaults[option], int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, number):
      raise ValueError(
        f'{option} of {name} must be {type(defaults[option]).__name__}, not '
        f'{value!r}.'
      )
    low, high = limits[option]
    if not (value >= low and (high is None or value <= high)):
      raise ValueError(
        f'{option} of {name} must be '
        + (f'at least {low}' if high is None else f'from {low} to {high}')
        + f', not {value}.'
      )


def lacks(name: str, **given: Any) -> str | None:
  """Says which input a measure needs that isn't given, or None.

  Args:
    name: one of `names()`.
    **given: what there is of `features`, `source_probs` and the rest; None
      counts as not given.
  """
  for needed, why in _GIVEN.items():
    if needed in _parameters(name) and given.get(needed) is None:
      several = needed in _PER_EXAMPLE
      absent = 'and there are none' if several else 'which is not known'
      return f'{name} needs {needed}, {absent}. {why}'.rstrip()
  return None


def check_inputs(
  name: str,
  *,
  labels: np.ndarray,
  **given: Any,
) -> dict[str, Any]:
  """Checks what a measure is to be given; the one check all of them share.

  Args:
    name: one of `names()`.
    labels: [N].
    **given: of `features`, `source_probs` and the rest what there is.

  Returns:
    The labels, and the inputs that the measure takes, checked.

  Raises:
    ValueError: if one that it needs is missing, or isn't what it should be.
  """
  unknown = set(given) - set(_GIVEN)
  if unknown:
    raise spelling.unknown('input', min(unknown), _GIVEN)
  checked = {'labels': inputs.check_labels(labels)}
  if missing := lacks(name, **given):
    raise ValueError(missing)
  checks = {
    'features': inputs.check_features,
    'source_probs': inputs.check_source_probs,
  }
  for needed in _GIVEN:
    if needed not in _parameters(name):
      continue
    if needed == 'fine_tune':
      checked[needed] = given[needed]
    elif needed in checks:
      checked[needed] = checks[needed](given[needed], labels=checked['labels'])
    else:
      checked[needed] = inputs.check_number(needed, given[needed])
  return checked


def _resample_by_copies(
  measure: Callable[..., Any],
  arguments: Mapping[str, Any],
  copies: np.ndarray,
) -> list[float]:
  """The scores of copied examples; only the first call's warnings are told."""
  scores = []
  with inputs.listen():
    for chosen in copies:
      copied = {
        key: value[chosen] if isinstance(value, np.ndarray) else value
        for key, value in arguments.items()
      }
      scores.append(inputs.as_score(measure(**copied)).value)
  return scores


def _evaluate(
  name: str,
  *,
  seed: int,
  num_resamples: int,
  options: Mapping[str, Any],
  **given: Any,
) -> Evaluation:
  check_options(name, options)
  check_num_resamples(num_resamples)
  checked = check_inputs(name, **given)
  parameters = _parameters(name)
  arguments = {k: v for k, v in checked.items() if k in parameters}
  if 'key' in parameters:
    arguments['key'] = jax.random.key(seed)
  measure = functools.partial(getattr(_module(name), name), **options)
  draws = {'seed': seed, 'num_resamples': num_resamples}
  labels = checked['labels']
  if 'example_weights' in parameters:
    arguments['example_weights'] = resampling.weightings(len(labels), **draws)
  found = inputs.as_score(measure(**arguments))
  values = np.asarray(found.value, np.float64).reshape(-1)
  weighted = 'example_weights' in parameters
  if not weighted and parameters.keys().isdisjoint(_PER_EXAMPLE):
    num_resamples = 0
  if not weighted and num_resamples:
    copies = resampling.copies(labels, **draws)
    copied = _resample_by_copies(measure, arguments, copies)
    values = np.append(values, np.asarray(copied, np.float64))
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
    float(values[0]), std, stderr, tuple(map(float, values[1:]))
  )


def evaluate(
  name: str,
  *,
  labels: np.ndarray,
  features: np.ndarray | None = None,
  source_probs: np.ndarray | None = None,
  num_parameters: int | None = None,
  upstream_accuracy: float | None = None,
  fine_tune: Callable[..., np.ndarray] | None = None,
  seed: int = 0,
  num_resamples: int = NUM_RESAMPLES,
  **options: Any,
) -> Evaluation:
  """Scores a checkpoint, with how sure the score is and what to know of it.

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
  with inputs.listen() as told:
    evaluation = _evaluate(
      name,
      seed=seed,
      num_resamples=num_resamples,
      options=options,
      features=features,
      labels=labels,
      source_probs=source_probs,
      num_parameters=num_parameters,
      upstream_accuracy=upstream_accuracy,
      fine_tune=fine_tune,
    )
  return dataclasses.replace(evaluation, warnings=tuple(told))


def score(
  name: str,
  *,
  labels: np.ndarray,
  features: np.ndarray | None = None,
  source_probs: np.ndarray | None = None,
  num_parameters: int | None = None,
  upstream_accuracy: float | None = None,
  fine_tune: Callable[..., np.ndarray] | None = None,
  seed: int = 0,
  **options: Any,
) -> float:
  """Scores a checkpoint: a float, larger is better; otherwise as `evaluate`.

  Nothing is resampled. What a reader should know of the score comes as
  `MeasureWarning`s.
  """
  return _evaluate(
    name,
    seed=seed,
    num_resamples=0,
    options=options,
    features=features,
    labels=labels,
    source_probs=source_probs,
    num_parameters=num_parameters,
    upstream_accuracy=upstream_accuracy,
    fine_tune=fine_tune,
  ).score
