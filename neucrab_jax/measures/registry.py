# SPDX-License-Identifier: Apache-2.0
"""The measures by name, and what each says of itself before it is called."""

import importlib
from collections.abc import Mapping
from typing import Any

from neucrab_jax import spelling
from neucrab_jax.measures import measure

# Name → module; imported when first used.
MODULES = {
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
  'interclass_distance': 'neucrab_jax.measures.interclass_distance',
  'concept_variance': 'neucrab_jax.measures.concept_variance',
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


def names() -> tuple[str, ...]:
  """The known measures."""
  return tuple(MODULES)


def find(name: str) -> measure.Measure:
  """A measure, its module imported.

  Raises:
    ValueError: if the measure is unknown.
  """
  if name not in MODULES:
    raise spelling.unknown('measure', name, names())
  return importlib.import_module(MODULES[name]).MEASURE


def variant(name: str, options: Mapping[str, Any]) -> str:
  """Which of a measure's published forms is meant, in words."""
  variants = find(name).variant
  if isinstance(variants, str):
    return variants
  return f'{options["variant"]} ({variants[options["variant"]]})'


def trains(name: str) -> bool:
  """Whether a measure trains the checkpoint itself."""
  return 'fine_tune' in find(name).parameters


def sees_examples(name: str) -> bool:
  """Whether a measure would score other examples differently."""
  return find(name).sees_examples


def spread(name: str) -> str:
  """What a measure's `std` is, such as 'standard deviation over seeds'."""
  return find(name).spread


def default_options(name: str) -> dict[str, Any]:
  """A measure's options and their defaults.

  Raises:
    ValueError: if the measure is unknown.
  """
  return find(name).options


def check_options(name: str, options: Mapping[str, Any]) -> None:
  """Checks a measure's name and its options, before any work.

  Raises:
    ValueError: if one is unknown, of another type than its default, or out of
      bounds.
  """
  defaults = default_options(name)
  limits = find(name).limits
  for option, value in options.items():
    if option not in defaults:
      raise spelling.unknown(f'option of {name}', option, defaults)
    if isinstance(defaults[option], str):
      if value not in limits[option]:
        raise spelling.unknown(
          f'{option} of {name}', str(value), limits[option]
        )
      continue
    if value is None and defaults[option] is None:
      continue
    low, high = limits[option]
    number = int if isinstance(low, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, number):
      raise ValueError(
        f'{option} of {name} must be {type(low).__name__}, not {value!r}.'
      )
    if not (value >= low and (high is None or value <= high)):
      raise ValueError(
        f'{option} of {name} must be '
        + (f'at least {low}' if high is None else f'from {low} to {high}')
        + f', not {value}.'
      )
