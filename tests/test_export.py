# SPDX-License-Identifier: Apache-2.0
"""What the command `export` says; `test_exporters` has what it does."""

import importlib.util
import json
import re

import pytest

from neucrab_jax import export
from tests import in_process
from tests.checkpoints import small_onnx

GOOD = json.dumps(small_onnx.PREPROCESSING)


@pytest.mark.parametrize(
  ('arguments', 'status', 'message'),
  [
    ([], 2, 'Nothing is to be exported'),
    (['--timm=resnet18'], 2, "timm is needed .*pip install '.\\[export\\]'"),
    (['--weights=x.safetensors', '--keras=x.keras'], 2, 'and not of 0'),
    (['--keras=x.keras'], 2, 'It should be like'),
    (['--keras=x.keras', '--preprocessing={'], 2, 'no JSON'),
    (['--tflite=x.tflite', f'--preprocessing={GOOD}'], 1, 'tf2onnx is needed'),
    (['--torch=nets.py'], 1, 'is no FILE:FUNCTION'),
  ],
)
def test_bad_input_is_one_line(
  arguments, status, message, tmp_path, monkeypatch
):
  find = importlib.util.find_spec
  absent = ('timm', 'torch', 'tf2onnx')
  monkeypatch.setattr(
    importlib.util, 'find_spec', lambda n: None if n in absent else find(n)
  )
  monkeypatch.chdir(tmp_path)
  given, _, errors = in_process.run('export', export.start, *arguments)
  assert given == status, errors
  (line,) = errors.splitlines()
  assert line.startswith('export: ')
  assert re.search(message, line), line


def test_an_interrupted_export_keeps_what_is_written(monkeypatch):
  def interrupt():
    raise KeyboardInterrupt

  monkeypatch.setattr(export, '_jobs', interrupt)
  given, _, errors = in_process.run('export', export.start)
  assert given == 130
  assert 'what is written stays' in errors


def test_help_names_the_flags():
  given, out, _ = in_process.run('export', export.start, '--help')
  assert given == 0
  assert all(f'--{flag}' in out for flag in ('timm', 'keras', 'torch', 'dir'))
