# SPDX-License-Identifier: Apache-2.0
"""Splits as they are called elsewhere, and parts of them.

Axes: N examples.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable

import numpy as np

from neucrab_jax import spelling, storage
from neucrab_jax.tasks import task as task_lib

# How a split is called, in small letters, and what it is called here.
_SPLIT_OF_NAME = {
  'train': 'train',
  'training': 'train',
  'val': 'validation',
  'valid': 'validation',
  'validation': 'validation',
  'test': 'test',
  'testing': 'test',
  'dev': 'validation',
}
# What may follow it, as in 'training_set'.
_SUFFIX = re.compile(r'[ _-]?(set|data|images|split)$')

# The splits in the order of their use.
_ORDER = tuple(dict.fromkeys(_SPLIT_OF_NAME.values()))

# A split, and where its part begins and ends; 'train[:80%]'.
_PART = re.compile(r'([^\[\]]+)\[(-?\d+%?)?:(-?\d+%?)?\]')

# Of the order in which parts are taken; changing it changes every part.
_SEED = 0


def find(name: str) -> str | None:
  """The split that a name stands for, in any spelling; None if for none."""
  return _SPLIT_OF_NAME.get(_SUFFIX.sub('', name.lower()))


def in_order(names: Iterable[str]) -> list[str]:
  """Splits in the order of their use, not of their names; others at the end."""
  known = {name: i for i, name in enumerate(_ORDER)}
  return sorted(names, key=lambda name: known.get(name, len(known)))


def resolve(name: str, known: Iterable[str]) -> str:
  """The one of the known splits that another spelling of it means.

  What means none of them is returned as it is.
  """
  known = tuple(known)
  meant = find(name)
  if name in known or meant is None:
    return name
  return next((split for split in known if find(split) == meant), name)


def resolve_all(expression: str, known: Iterable[str]) -> str:
  """An expression of TFDS, 'val[:10%]+train', with the known splits' names."""
  known = tuple(known)
  terms = []
  for term in expression.split('+'):
    name, bracket, part = term.partition('[')
    meant = resolve(name.strip(), known)
    terms.append((meant if meant in known else name) + bracket + part)
  return '+'.join(terms)


def _to_index(text: str | None, size: int, *, default: int) -> int:
  """A bound of a part as an index: as TFDS has it, percents are rounded."""
  if text is None:
    return default
  index = int(text.rstrip('%'))
  if text.endswith('%'):
    if abs(index) > 100:
      raise ValueError(f'there are no {text} of anything')
    index = round(index * size / 100)
  elif abs(index) > size:
    raise ValueError(f'there are only {size} examples, and not {abs(index)}')
  # Of percents that are rounded to nothing the sign still counts.
  return index + size if text.startswith('-') else index


def _spread(labels: np.ndarray) -> np.ndarray:
  """An order [N] in which every beginning has its share of each class.

  The examples of a class are shuffled and spread evenly from 0 to 1.
  """
  random = np.random.RandomState(_SEED)
  positions = np.empty(len(labels))
  for label in np.unique(labels):
    members = random.permutation(np.flatnonzero(labels == label))
    positions[members] = (np.arange(len(members)) + 0.5) / len(members)
  # Among equals in a random order, or small parts would have the first classes.
  return np.lexsort([random.permutation(len(labels)), positions])


def take(
  examples: task_lib.Examples, indices: np.ndarray, *, fingerprint: str
) -> task_lib.Examples:
  """Some examples of a split, as a split.

  Args:
    examples: [N]
    indices: [n] ascending.
    fingerprint: of what is taken.
  """
  return dataclasses.replace(
    examples,
    labels=examples.labels[indices],
    fingerprint=fingerprint,
    whole_fingerprint=examples.split_fingerprint,
    opener=lambda chosen: examples.opener(indices[chosen]),
    ids=None if examples.ids is None else examples.ids[indices],
  )


def with_parts(
  read: Callable[[str], task_lib.Examples],
  *,
  known: Iterable[str],
  source: str,
) -> Callable[[str], task_lib.Examples]:
  """Lets a reader of splits read parts of them, too: 'train[:80%]'.

  The bounds are those of TFDS: percents or numbers of examples, from the end if
  negative. The examples are taken in a random order that is always the same and
  has in every part its share of each class, since a folder is in the order of
  its classes. 'train[:80%]' and 'train[80%:]' have no example in common.

  Args:
    read: gives a split.
    known: the splits that it gives.
    source: the task's name.
  """
  known = tuple(known)

  def read_part(expression: str) -> task_lib.Examples:
    match = _PART.fullmatch(expression.strip())
    split = match[1].strip() if match else expression
    if resolve(split, known) not in known:
      if match is None and set(expression) & set('[]+'):
        raise ValueError(
          f'{expression!r} is no split of {source!r}. A part of one looks like '
          '"train[:80%]", "train[80%:]" or "train[:100]".'
        )
      raise spelling.unknown(f'split of {source!r}', split, known)
    split = resolve(split, known)
    whole = read(split)
    if whole.ids is None:
      ids = task_lib.number(known.index(split), np.arange(len(whole)))
      whole = dataclasses.replace(whole, ids=ids)
    if match is None:
      return whole
    size = len(whole)
    try:
      start = _to_index(match[2], size, default=0)
      stop = _to_index(match[3], size, default=size)
    except ValueError as error:
      raise ValueError(f'{expression!r} of {source!r}: {error}.') from None
    if stop - start == size:
      return whole
    if start >= stop:
      raise ValueError(
        f'{expression!r} of {source!r} has none of the {size} examples.'
      )
    indices = np.sort(_spread(whole.labels)[start:stop])
    task_lib.check_labels(
      whole.labels[indices],
      source=f'{expression!r} of {source!r}',
      num_classes=1 + int(whole.labels.max()),
    )
    fingerprint = storage.digest(whole.fingerprint, [_SEED, start, stop])
    return take(whole, indices, fingerprint=fingerprint)

  return read_part
