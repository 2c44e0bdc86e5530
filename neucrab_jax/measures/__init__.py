# SPDX-License-Identifier: Apache-2.0
"""Measures of transferability: pure functions of arrays, larger is better.

A measure is one file: a function of its own name that takes what it needs of
`features`, `labels`, `source_probs` and `key`, then its options; `VARIANT`,
which of its published forms it is; `SPREAD`, what its `std` is; `LIMITS`, the
smallest and the largest value of each option, or the names it takes.
"""

import dataclasses
import importlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from neucrab_jax import spelling
from neucrab_jax.measures import inputs
from neucrab_jax.measures.inputs import MeasureWarning as MeasureWarning

# Name → module; imported when first used.
_MEASURES = {
  'nleep': 'neucrab_jax.measures.nleep',
  'leep': 'neucrab_jax.measures.leep',
  'knn': 'neucrab_jax.measures.knn',
  'linear': 'neucrab_jax.measures.linear',
}
_INPUTS = ('features', 'labels', 'source_probs', 'key')


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """A measure's score of one checkpoint.

  Attributes:
    score: larger is better.
    std: how sure it is: what `spread(name)` says.
    warnings: what a reader of the score should know.
  """

  score: float
  std: float
  warnings: tuple[str, ...]


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
  return _module(name).SPREAD


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


def check_inputs(
  name: str,
  *,
  features: np.ndarray | None = None,
  labels: np.ndarray,
  source_probs: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
  """Checks what a measure is to be given; the one check all of them share.

  Returns:
    The inputs that the measure takes, checked.

  Raises:
    ValueError: if one that it needs is missing, or isn't what it should be.
  """
  parameters = _parameters(name)
  given = {'features': features, 'source_probs': source_probs}
  checks = {
    'features': inputs.check_features,
    'source_probs': inputs.check_source_probs,
  }
  checked = {'labels': inputs.check_labels(labels)}
  for needed, check in checks.items():
    if needed not in parameters:
      continue
    if given[needed] is None:
      raise ValueError(
        f'{name} needs {needed}, and there are none.'
        + (
          ' Only a checkpoint with a classification head has them.'
          if needed == 'source_probs'
          else ''
        )
      )
    checked[needed] = check(given[needed], labels=checked['labels'])
  return checked


def _score(name: str, *, seed: int, options: Mapping[str, Any], **given):
  check_options(name, options)
  arguments = check_inputs(name, **given)
  if 'key' in _parameters(name):
    arguments['key'] = jax.random.key(seed)
  value, std = getattr(_module(name), name)(**arguments, **options)
  if not (np.isfinite(value) and np.isfinite(std)):
    raise ValueError(f'{name} came to {value} ± {std}: no score to rank by.')
  return float(value), float(std)


def evaluate(
  name: str,
  *,
  labels: np.ndarray,
  features: np.ndarray | None = None,
  source_probs: np.ndarray | None = None,
  seed: int = 0,
  **options: Any,
) -> Evaluation:
  """Scores a checkpoint, with the spread of the score and what to know of it.

  Args:
    name: one of `names()`.
    labels: [N], integers from 0 to C − 1.
    features: [N, D], for measures that take them.
    source_probs: [N, Z], for measures that take them.
    seed: of whatever is random in the measure.
    **options: of the measure; see `default_options`.

  Raises:
    ValueError: if the measure or an option is unknown, or an array is not what
      it should be.
  """
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always', MeasureWarning)
    value, std = _score(
      name,
      seed=seed,
      options=options,
      features=features,
      labels=labels,
      source_probs=source_probs,
    )
  told = []
  for warning in caught:
    if issubclass(warning.category, MeasureWarning):
      told.append(str(warning.message))
    else:
      warnings.warn_explicit(
        warning.message, warning.category, warning.filename, warning.lineno
      )
  return Evaluation(value, std, tuple(told))


def score(
  name: str,
  *,
  labels: np.ndarray,
  features: np.ndarray | None = None,
  source_probs: np.ndarray | None = None,
  seed: int = 0,
  **options: Any,
) -> float:
  """Scores a checkpoint: a float, larger is better; otherwise as `evaluate`.

  What a reader should know of the score comes as `MeasureWarning`s.
  """
  value, _ = _score(
    name,
    seed=seed,
    options=options,
    features=features,
    labels=labels,
    source_probs=source_probs,
  )
  return value
