# SPDX-License-Identifier: Apache-2.0
"""Files of installed packages, which bundled tasks are made of."""

import importlib.util
import pathlib


def find(file: str) -> pathlib.Path:
  """Where a file lies that comes with a package.

  Finding the package, not importing it, is all that a file of it takes.

  Args:
    file: the package's name and the path in it.

  Raises:
    FileNotFoundError: if the installed package lacks it.
  """
  package, _, path = file.partition('/')
  found = importlib.util.find_spec(package)
  roots = (found and found.submodule_search_locations) or ()
  for root in roots:
    if (whole := pathlib.Path(root) / path).is_file():
      return whole
  raise FileNotFoundError(
    f'There is no {file!r} among the installed packages. Install the versions '
    'of requirements.txt.'
  )
