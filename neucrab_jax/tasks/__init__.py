# SPDX-License-Identifier: Apache-2.0
"""Downstream tasks: what the checkpoints are ranked for.

    task = tasks.load('digits')
    examples = task.read('train')
    for decode in examples.open(np.arange(10)):
      image = decode()  # uint8 [H, W, 3]

A task is a name built in (`names()`), a folder of images, an `.npz`, or any
image classification dataset of TFDS.
"""

import os

from neucrab_jax.tasks import arrays, digits
from neucrab_jax.tasks.preprocessing import resize
from neucrab_jax.tasks.sampling import stratified_sample
from neucrab_jax.tasks.task import Examples, Task

__all__ = [
  'Examples',
  'Task',
  'load',
  'names',
  'resize',
  'stratified_sample',
]


def names() -> tuple[str, ...]:
  """The built-in tasks: the bundled one and the four of the paper."""
  return ('digits',)


def load(name: str, data_dir: str | os.PathLike | None = None) -> Task:
  """Loads a task, without reading its images."""
  if name == 'digits':
    return digits.load()
  return arrays.load(name)
