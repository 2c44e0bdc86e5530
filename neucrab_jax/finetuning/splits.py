# SPDX-License-Identifier: Apache-2.0
"""A task's examples for training, for validation and for the test."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from neucrab_jax import checkpoints, measures, storage, tasks
from neucrab_jax.features import compute
from neucrab_jax.finetuning import batches, record
from neucrab_jax.ops import stratified
from neucrab_jax.typing import Config

# Of the training examples, where a task has no validation split: as VTAB's 200
# of 1,000.
_HELD_OUT = 0.2

ROLES = ('train', 'validation', 'test')


@dataclasses.dataclass(frozen=True)
class Part:
  """The examples of one role.

  Attributes:
    split: of the task.
    examples: of the split.
    indices: which of them.
  """

  split: str
  examples: tasks.Examples
  indices: np.ndarray

  @property
  def labels(self) -> np.ndarray:
    return self.examples.labels[self.indices]

  def describe(self) -> record.Part:
    return record.Part(
      split=self.split,
      num_examples=len(self.indices),
      fingerprint=self.examples.fingerprint_of(self.indices),
      num_damaged=self.examples.num_damaged,
      split_fingerprint=self.examples.split_fingerprint,
    )


def _check_apart(parts: Sequence[Part], *, source: str) -> None:
  """Raises ValueError if an example is in two of the parts."""
  for one, other in itertools.combinations(parts, 2):
    mine, others = one.examples.ids, other.examples.ids
    if mine is None or others is None:
      continue
    if common := len(np.intersect1d(mine, others)):
      raise ValueError(
        f'{one.split!r} and {other.split!r} of {source!r} have {common} '
        'examples in common. Give training, validation and test parts that '
        "have none, such as 'train[:80%]' and 'train[80%:]', or leave "
        'validation empty to hold out a part of the training examples.'
      )


class Splits:
  """A task with examples for each role, as images or as features."""

  def __init__(self, chosen: Config, folder: pathlib.Path):
    """Reads labels, and leaves the images for later.

    Args:
      chosen: `task` of the config.
      folder: where there is room for images that don't fit in memory.

    Raises:
      ValueError: if there is no such task or split, or the splits overlap.
    """
    measures.check_seed(chosen.sample_seed)
    self._folder = folder
    splits = [chosen.train, chosen.validation, chosen.test]
    if not chosen.test or len(set(splits)) < len(splits):
      raise ValueError(
        'Training, validation and test need splits of their own, not '
        f'{chosen.train!r}, {chosen.validation!r} and {chosen.test!r}. Leave '
        'validation empty to hold out a part of the training examples.'
      )
    self._task = tasks.load(
      chosen.name,
      data_dir=chosen.data_dir or None,
      **tasks.folder_options(chosen),
    )
    self.name = self._task.name
    self.num_classes = self._task.num_classes
    # A task that has no split of a role's own name gives it a part of training.
    lacking = [
      role for role in ('test', 'validation') if self._lacks(chosen[role], role)
    ]
    apart = self._read(
      {
        role: chosen[role]
        for role in ROLES
        if chosen[role] and role not in lacking
      }
    )
    used = apart.pop('train')
    _check_apart([used, *apart.values()], source=self.name)
    if 'test' in lacking:
      used, apart['test'] = self._hold_out(used, seed=chosen.sample_seed)
    if chosen.num_examples:
      sampled = stratified.sample(
        used.labels, num_examples=chosen.num_examples, seed=chosen.sample_seed
      )
      used = dataclasses.replace(used, indices=used.indices[sampled])
    notes = []
    if 'validation' not in apart:
      used, held_out = self._hold_out(used, seed=chosen.sample_seed)
      apart['validation'] = held_out
      if chosen.num_examples:
        notes.append(
          f'num_examples={chosen.num_examples}: {len(held_out.indices)} of '
          f'these are held out for validation, and training has '
          f'{len(used.indices)}.'
        )
    self.parts = {'train': used, **apart}
    notes += [
      f'{self.name} has no split {role!r}: {len(self.parts[role].indices)} '
      f'examples of {chosen.train!r} are held out for it.'
      for role in lacking
    ]
    notes += [
      f'Damaged images of {part.split!r} left out: {part.examples.num_damaged}.'
      for part in {part.split: part for part in self.parts.values()}.values()
      if part.examples.num_damaged
    ]
    self.notes = tuple(notes)

  def _lacks(self, split: str, role: str) -> bool:
    """Whether a role is to have the split of its own name, which is none."""
    return tasks.find_split(split) == role and not any(
      tasks.find_split(name) == role for name in self._task.splits
    )

  def _hold_out(self, part: Part, *, seed: int) -> tuple[Part, Part]:
    """What is kept of a part, and a stratified fifth of it."""
    kept, held_out = stratified.hold_out(
      part.labels, share=_HELD_OUT, seed=seed
    )
    return (
      dataclasses.replace(part, indices=part.indices[kept]),
      dataclasses.replace(part, indices=part.indices[held_out]),
    )

  def _read(self, chosen: Mapping[str, str]) -> dict[str, Part]:
    """Reads a split for each role; of all of them, bad images are one error."""
    parts, faults, emptied = {}, {}, {}
    for role, split in chosen.items():
      try:
        examples = self._task.read(split)
      except tasks.BadImagesError as error:
        faults |= error.faults
        emptied |= dict.fromkeys(error.emptied)
      else:
        parts[role] = Part(split, examples, np.arange(len(examples)))
    if faults:
      raise tasks.BadImagesError(faults, tuple(emptied))
    return parts

  def describe(self, roles: Sequence[str] = ROLES) -> record.Task:
    """The task, as a record has it; or what of it matters to some roles."""
    parts = {role: self.parts[role].describe() for role in roles}
    return record.Task(
      name=self.name,
      num_classes=self.num_classes,
      splits=parts,
      fingerprint=storage.digest([part.fingerprint for part in parts.values()]),
    )

  def images(
    self, role: str, checkpoint: checkpoints.Checkpoint
  ) -> batches.Arrays:
    """The images of a role, as a checkpoint expects them."""
    return self._images(role, checkpoint.image_size, checkpoint.resize_method)

  # Most groups prepare images for all checkpoints alike.
  @functools.lru_cache(maxsize=len(ROLES))  # noqa: B019
  def _images(self, role: str, size: int, method: str) -> batches.Arrays:
    part = self.parts[role]
    return batches.load_images(
      part.examples, part.indices, size=size, method=method, folder=self._folder
    )

  def features(
    self,
    role: str,
    backbone: checkpoints.Backbone,
    *,
    batch_size: int,
    cache_dir: str,
  ) -> batches.Arrays:
    """The features of a role, from the cache if they are there."""
    part = self.parts[role]
    computed = compute.compute(
      backbone,
      part.examples,
      indices=part.indices,
      task=self.name,
      batch_size=batch_size,
      cache_dir=cache_dir,
    )
    return batches.Arrays(computed.features.features, part.labels)
