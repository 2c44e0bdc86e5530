# SPDX-License-Identifier: Apache-2.0
"""Rankings in three lines of Python, for notebooks.

import neucrab_jax
ranking = neucrab_jax.rank_checkpoints(
  ['mini_vae', 'model.onnx', my_function], task='path/to/images')
ranking.best
"""

import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.typing import ArrayLike

from neucrab_jax import (
  checkpoints,
  features,
  interruption,
  measures,
  progress,
  spelling,
  storage,
)
from neucrab_jax.measures import columns
from neucrab_jax.ranking import candidates, record, settings
from neucrab_jax.ranking import run as run_lib
from neucrab_jax.typing import Array, Config


def _ranked(
  config: Config,
  folder: str,
  find: Callable[[Config], candidates.Candidates] | None = None,
) -> record.Ranking:
  """The ranking by the config's measure."""
  run = run_lib.prepare(config, folder, find)
  with interruption.handled(), progress.bar(run.candidates.size) as bar:
    ranked = run_lib.score(run, bar)
  if ranked.interrupted:
    raise KeyboardInterrupt
  (ranking,) = ranked.rankings.values()
  return ranking


def _with_measure(config: Config, name: str, options: Mapping) -> Config:
  """The config with a measure of some options.

  Raises:
    ValueError: if the measure or an option is unknown.
  """
  measures.check_options(name, {**measures.default_options(name), **options})
  config.measure = settings.measure(name)
  config.measure.options.update(options)
  return config


def _save_functions(
  chosen: Sequence[str | Callable[[Array], Any]],
  folder: pathlib.Path,
  **expected: Any,
) -> list[str]:
  """References to what is chosen, functions among it as files.

  Args:
    chosen: references and functions.
    folder: for the files.
    **expected: the images that functions take, as `save_exported` has it.
  """
  references, names = [], set()
  for place, one in enumerate(chosen, start=1):
    if isinstance(one, str):
      references.append(one)
      continue
    if not callable(one):
      raise ValueError(
        f'checkpoints are references and functions, and not {one!r}.'
      )
    name = getattr(one, '__name__', type(one).__name__).strip('<>')
    if name in names:
      name = f'{name}-{place}'
    names.add(name)
    path = folder / f'{name}.jaxexport'
    checkpoints.save_exported(one, path, **expected)
    references.append(str(path))
  return references


def rank_checkpoints(
  chosen: str | Sequence[str | Callable[[Array], Any]],
  task: str = 'digits',
  measure: str = 'nleep',
  *,
  split: str = 'train',
  num_examples: int = 0,
  image_size: int = 224,
  value_range: checkpoints.ValueRange = (0.0, 1.0),
  checkpoint_dir: str = '',
  cache_dir: str = '',
  batch_size: int = 128,
  seed: int = 0,
  **options: Any,
) -> record.Ranking:
  """Ranks checkpoints by how well they will transfer to a task.

  What `python -m neucrab_jax.rank` does, without a folder of results: `save`
  of the ranking writes them.

  Args:
    chosen: references, as `--config.checkpoints` takes them; and functions that
      JAX can trace, from images [B, H, W, 3] to features [B, D], or to features
      and logits.
    task: 'digits', a data set of TFDS, a folder of images or an `.npz`.
    measure: one of `measures.names()`.
    split: of the task, or a part of it, such as 'train[:80%]'.
    num_examples: of a stratified sample of the split; 0 for all.
    image_size: H and W, of the images that functions take.
    value_range: what 0 and 255 become for functions, for all colours or each.
    checkpoint_dir: of weights that are not bundled.
    cache_dir: of features; empty for the user's cache folder.
    batch_size: over all local devices.
    seed: of what is random in the measure.
    **options: of the measure.

  Returns:
    The record that `ranking.json` is. Checkpoints that could not be scored are
    its `failed`.

  Raises:
    ValueError: if the input is bad; before any long work starts.
  """
  config = _with_measure(settings.checkpoints_on_a_task(), measure, options)
  config.update(
    checkpoint_dir=checkpoint_dir,
    cache_dir=cache_dir,
    batch_size=batch_size,
    seed=seed,
  )
  config.task.update(name=task, split=split, num_examples=num_examples)
  chosen = [chosen] if isinstance(chosen, str) or callable(chosen) else chosen
  with tempfile.TemporaryDirectory() as folder:
    references = _save_functions(
      chosen,
      pathlib.Path(folder),
      image_size=image_size,
      value_range=value_range,
    )
    config.checkpoints = ','.join(references)
    return _ranked(config, folder)


def rank_features(
  arrays: Mapping[str, ArrayLike],
  labels: ArrayLike,
  measure: str = 'nleep',
  *,
  source_probs: Mapping[str, ArrayLike] | None = None,
  task: str = 'features',
  seed: int = 0,
  **options: Any,
) -> record.Ranking:
  """Ranks checkpoints by features that any framework computed.

  >>> y = np.arange(60) % 3
  >>> x = np.random.default_rng(0).normal(size=(60, 4))
  >>> found = rank_features({'bad': x, 'good': x + y[:, None]}, y, 'ridge_loo')
  >>> found.best, [entry.checkpoint for entry in found.ranking]
  ('good', ['good', 'bad'])

  Args:
    arrays: by checkpoint, [N, D] features of the same examples.
    labels: [N].
    measure: one of `measures.names()`.
    source_probs: by checkpoint, [N, Z], for the measures that take them.
    task: what the examples are called.
    seed: of what is random in the measure.
    **options: of the measure.

  Returns:
    As `rank_checkpoints`.

  Raises:
    ValueError: if the labels or the options are bad, or nothing is given.
  """
  if not arrays:
    raise ValueError('There are no features: give them by checkpoint.')
  if unknown := set(source_probs or {}) - set(arrays):
    raise spelling.unknown('checkpoint', min(unknown), arrays)
  classes = measures.check_labels(labels).value

  def candidate(name: str) -> candidates.Candidate:
    def compute(
      advance: candidates.Advance, part: features.Prefix | None = None
    ) -> candidates.Computed:
      start = time.perf_counter()
      advance(1)
      probs = (source_probs or {}).get(name)
      found = features.Features(
        columns.to_array(arrays[name], name='features'),
        classes,
        None if probs is None else columns.to_array(probs, name='source_probs'),
      )
      seconds = {'read': time.perf_counter() - start}
      computed = candidates.Computed(found, seconds=seconds, cached=False)
      return candidates.of_part(computed, part)

    return candidates.Candidate(name, size=1, compute=compute)

  config = _with_measure(settings.resampling(), measure, options)
  config.seed = seed
  found = candidates.Candidates(
    task=record.Task(
      name=task,
      split='all',
      num_examples=len(classes),
      num_classes=int(classes.max()) + 1,
      fingerprint=storage.digest(classes),
    ),
    candidates=tuple(candidate(str(name)) for name in arrays),
    labels=classes,
  )
  with tempfile.TemporaryDirectory() as folder:
    return _ranked(config, folder, lambda unused: found)
