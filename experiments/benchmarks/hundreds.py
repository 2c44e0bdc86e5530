# SPDX-License-Identifier: Apache-2.0
"""What hundreds of checkpoints take in one run: memory, and compilations.

  python -m experiments.benchmarks.hundreds --count=300

Writes ONNX files of one graph and different weights, some megabytes each, and
ranks them for the digits in one run. Prints the process's memory as it goes on,
and how often something was compiled so far.
"""

import collections
import json
import pathlib
import resource
import tempfile
from collections.abc import Sequence

import jax
import numpy as np
from absl import app, flags
from onnx import TensorProto, helper, numpy_helper, save

from neucrab_jax.ranking import run, scoring, settings

_COUNT = flags.DEFINE_integer('count', 300, 'Checkpoints.')
_EXAMPLES = flags.DEFINE_integer('examples', 100, 'Of the digits.')
_EVERY = flags.DEFINE_integer('every', 10, 'Checkpoints between two prints.')

_SIZE, _WIDTH = 32, 256
_PREPARED = {
  'image_size': _SIZE,
  'mean': [0.5] * 3,
  'std': [0.5] * 3,
  'resize_method': 'bilinear',
}


def _floats(name: str, *shape: int | str):
  return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _write(path: pathlib.Path, seed: int) -> None:
  rng = np.random.default_rng(seed)
  # Nine times the square of the width, in each of the two last.
  inputs = (3, _WIDTH, _WIDTH)
  names = [f'w{number}' for number in range(len(inputs))]
  weights = [
    rng.standard_normal((_WIDTH, count, 3, 3)).astype('f4') / 3 / count**0.5
    for count in inputs
  ]
  nodes, last = [], 'images'
  for name in names:
    nodes += [
      helper.make_node(
        'Conv', [last, name], [f'c{name}'], pads=[1] * 4, strides=[2, 2]
      ),
      helper.make_node('Relu', [f'c{name}'], [f'r{name}']),
    ]
    last = f'r{name}'
  nodes += [
    helper.make_node('GlobalAveragePool', [last], ['pooled']),
    helper.make_node('Flatten', ['pooled'], ['features']),
  ]
  graph = helper.make_graph(
    nodes,
    'network',
    [_floats('images', 'N', 3, _SIZE, _SIZE)],
    [_floats('features', 'N', _WIDTH)],
    [numpy_helper.from_array(*one) for one in zip(weights, names, strict=True)],
  )
  model = helper.make_model(
    graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8
  )
  about = model.metadata_props.add()
  about.key, about.value = 'neucrab.preprocessing', json.dumps(_PREPARED)
  save(model, path)


def _memory() -> float:
  """Megabytes of the process now; where the system says."""
  status = pathlib.Path('/proc/self/statm')
  if status.exists():
    pages = int(status.read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(argv: Sequence[str]) -> None:
  del argv
  compiled = collections.Counter()

  def note(event: str, duration_secs: float, **unused) -> None:
    compiled['all'] += event.endswith('backend_compile_duration')

  jax.monitoring.register_event_duration_secs_listener(note)
  call = scoring.Scorer.__call__
  done = []

  def counting(scorer, name, computed):
    found = call(scorer, name, computed)
    done.append(name)
    if len(done) % _EVERY.value == 0:
      print(
        f'{len(done):4} checkpoints  {_memory():6.0f} MB  '
        f'{compiled["all"]:3} compilations so far',
        flush=True,
      )
    return found

  scoring.Scorer.__call__ = counting
  with tempfile.TemporaryDirectory() as folder:
    models = pathlib.Path(folder) / 'models'
    models.mkdir()
    for number in range(_COUNT.value):
      _write(models / f'network_{number:03}.onnx', number)
    config = settings.checkpoints_on_a_task()
    config.measure = settings.measure('knn')
    config.checkpoints = f'{models}/*.onnx'
    config.task.num_examples = _EXAMPLES.value
    config.batch_size = 50
    config.cache_dir = f'{folder}/cache'
    ranking = run.rank(config, f'{folder}/run')['knn']
  print(f'{len(ranking.ranking)} ranked, {len(ranking.failed)} failed')


if __name__ == '__main__':
  app.run(main)
