# SPDX-License-Identifier: Apache-2.0
"""Whether weights are where they should be, before anything needs them."""

import os

from neucrab_jax.checkpoints import readers, spec, tf1

_ONE_FILE = ('.npz', '.tar.gz', '.tgz')


def missing(checkpoint: spec.Checkpoint) -> str:
  """Why the weights of a checkpoint are not there; nothing if they are.

  Only that they are there is looked at; reading tells whether they are whole.
  A repository of the hub counts as there.
  """
  path = checkpoint.path
  if path.startswith(readers.HUB):
    return ''
  if path.endswith(_ONE_FILE) or readers.is_known(path):
    there = os.path.exists(readers.split(path)[0])
    return '' if there else f'There is no file {path!r}.'
  try:
    tf1.check_prefix(path)
  except (FileNotFoundError, ValueError) as error:
    return str(error)
  return ''
