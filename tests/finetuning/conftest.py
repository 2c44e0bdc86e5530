# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

# `small` and `parity` are shared with the tests of features and of models.
_TESTS = pathlib.Path(__file__).parents[1]
for folder in ('finetuning', 'features', 'models'):
  sys.path.insert(0, str(_TESTS / folder))
