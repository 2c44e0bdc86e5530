# SPDX-License-Identifier: Apache-2.0
"""The examples in the docstrings of measures and kernels are true."""

import doctest
import importlib
import pkgutil

import pytest

from neucrab_jax import measures, ops

MODULES = [
  module.name
  for package in (measures, ops)
  for module in pkgutil.iter_modules(package.__path__, f'{package.__name__}.')
]
# What people call first.
PUBLIC = (
  measures.evaluate,
  measures.score,
)


@pytest.mark.parametrize('name', MODULES)
def test_examples_come_out_as_they_say(name):
  failed, _ = doctest.testmod(importlib.import_module(name))
  assert not failed


@pytest.mark.parametrize('function', PUBLIC)
def test_what_people_call_first_has_an_example(function):
  assert '>>>' in function.__doc__
