# SPDX-License-Identifier: Apache-2.0
"""Tasks from a folder of images, one sub-folder a class.

Axes: N examples.
"""

import functools
import math
import os
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np

from neucrab_jax import storage
from neucrab_jax.tasks import class_folders, image_files, inspection
from neucrab_jax.tasks import splits as splits_lib
from neucrab_jax.tasks import task as task_lib


def _read(
  classes: class_folders.Classes,
  *,
  source: str,
  max_pixels: int,
  skip_damaged: bool,
) -> task_lib.Examples:
  labelled = [
    (file, label)
    for label, members in enumerate(classes.values())
    for file in members
  ]
  inspected = inspection.inspect_all(
    [file for file, _ in labelled],
    max_pixels=max_pixels,
    description=f'Reading {source}',
  )
  faults = {
    file: found.fault
    for (file, _), found in zip(labelled, inspected, strict=True)
    if found.fault is not None
  }
  files = [file for file, _ in labelled if file not in faults]
  labels = np.array([i for file, i in labelled if file not in faults], np.int32)
  if faults:
    emptied = [name for i, name in enumerate(classes) if i not in labels]
    if not skip_damaged or emptied:
      raise inspection.BadImagesError(faults, emptied)
    warnings.warn(inspection.DamagedImagesWarning(source, faults), stacklevel=2)
  decode = functools.partial(image_files.decode, max_pixels=max_pixels)

  def open_images(indices: np.ndarray) -> Iterator[task_lib.Decode]:
    return (functools.partial(decode, files[index]) for index in indices)

  return task_lib.Examples(
    labels=labels,
    fingerprint=storage.digest(
      labels, [found.digest for found in inspected if found.fault is None]
    ),
    opener=open_images,
    num_damaged=len(faults),
  )


def load(
  name: str,
  *,
  class_depth: int = 1,
  skip_damaged: bool = False,
  max_megapixels: float = image_files.MAX_MEGAPIXELS,
) -> task_lib.Task:
  """Loads a task from a folder of images.

  The classes are the sub-folders, in the order of their names. What lies deeper
  in one belongs to it. What is no image is left out, with a warning.

  Args:
    name: path of the folder.
    class_depth: of the folders that are classes, below the root or the split. A
      folder without sub-folders is a class, however deep it is.
    skip_damaged: whether to leave out images that cannot be decoded, with a
      warning, as long as every class keeps one.
    max_megapixels: of an image; a larger one is taken to be damaged.

  Raises:
    ValueError: if there are no sub-folders, one without images, only one
      class, or other classes in one split than in another; or a link leads
      nowhere or in a circle; or an option cannot be.
  """
  if class_depth < 1:
    raise ValueError(
      f'class_depth must be at least 1, the sub-folders, not {class_depth}.'
    )
  if not 0 < max_megapixels < math.inf:
    raise ValueError(
      f'max_megapixels must be a positive number, not {max_megapixels}.'
    )
  root = pathlib.Path(os.path.expanduser(name))
  splits = class_folders.find_splits(root, depth=class_depth)

  @functools.cache
  def read(split: str) -> task_lib.Examples:
    return _read(
      splits[split],
      source=f'{name}, split {split!r}',
      max_pixels=round(max_megapixels * 1e6),
      skip_damaged=skip_damaged,
    )

  first = next(iter(splits.values()))
  return task_lib.Task(
    name=name,
    num_classes=len(first),
    class_names=tuple(first),
    splits=tuple(splits),
    reader=splits_lib.with_parts(read, known=splits, source=name),
  )
