# SPDX-License-Identifier: Apache-2.0
"""Every network's speed beside other libraries', on this machine.

    python -m experiments.benchmarks.models [--only=mobilenet] [--json=FILE]
        [--peers=PYTHON]

times the jitted forward pass of a batch of 16 images at each architecture's own
size, with random weights: the median of `--repeats` warm calls, and the peak
resident memory of the process. Where `keras.applications` has the same
architecture, it does the same on its TensorFlow backend, compiled by
`tf.function`; the ratio is its seconds to ours, of which at least one is asked.
The two take turns, each in a process of its own that lives through all turns,
so that whatever else the machine does slows both.

Then the restoring of a TensorFlow 1 checkpoint of ResNet-101, in a process of
its own: its seconds, without TensorFlow's import, and its peak memory beyond
that import, as a multiple of the variables.

Last, networks of timm as they are read here, against PyTorch's, against ONNX
Runtime, and against the same ONNX file through us, in turns again, by two
batches: at least as fast as PyTorch and our own ONNX, and .8 of ONNX Runtime,
is asked. `PYTHON` is one that has torch, timm, onnxscript and onnxruntime
beside what we need; what it lacks is left out.

Keras comes with TensorFlow. The JSON has all of it.
"""

import argparse
import functools
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import numpy as np

from experiments.benchmarks import torch_peers

_BATCH = 16

# Architecture: its own image size, and its name in keras.applications.
NETWORKS = {
  'inception_resnet_v2': (299, None),
  'inception_v1': (224, None),
  'inception_v2': (224, None),
  'inception_v3': (299, 'InceptionV3'),
  'inception_v4': (299, None),
  'mobilenet_v1': (224, 'MobileNet'),
  'mobilenet_v1_025': (224, None),
  'mobilenet_v2': (224, 'MobileNetV2'),
  'mobilenet_v2_035': (224, None),
  'mobilenet_v3_large': (224, 'MobileNetV3Large'),
  'mobilenet_v3_small': (224, 'MobileNetV3Small'),
  'resnet_v1_101': (224, None),
  'resnet_v1_50': (224, 'ResNet50'),
  'resnet_v2_50': (224, None),
  's4l_resnet50_v2': (224, None),
  'biggan_discriminator': (128, None),
}

# Of restoring ResNet-101: at most so many seconds, and times its variables.
_RESTORED = 'resnet_v1_101'
_MOST_SECONDS, _MOST_MEMORY = 5.0, 2.5

# Seconds before each call.
_REST = 0.3

_ROW = '{:22} {:>5} {:>10} {:>10} {:>7} {:>8} {:>9}'


def _images(size: int) -> np.ndarray:
  rng = np.random.default_rng(0)
  return rng.uniform(-1, 1, (_BATCH, size, size, 3)).astype(np.float32)


def random_variables(name: str) -> dict[tuple[str, ...], np.ndarray]:
  """Values that neither vanish nor overflow on the way, by Flax path."""
  import jax
  from flax import traverse_util

  from neucrab_jax import models

  size = NETWORKS[name][0]
  shapes = jax.eval_shape(
    models.build(name).init, jax.random.key(0), _images(size)
  )
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    if path[-1] in ('kernel', 'depthwise_kernel', 'pointwise_kernel'):
      values = rng.normal(size=leaf.shape)
      fan_in = leaf.shape[:2] if 'depthwise' in path[-1] else leaf.shape[:-1]
      return (values / np.sqrt(np.prod(fan_in))).astype(np.float32)
    return rng.uniform(0.5, 1, leaf.shape).astype(np.float32)

  flat = traverse_util.flatten_dict(shapes)
  return {path: draw(path, leaf) for path, leaf in flat.items()}


def _ours(name: str) -> Callable[[], object]:
  import jax
  from flax import traverse_util

  from neucrab_jax import models

  variables = traverse_util.unflatten_dict(random_variables(name))
  forward = jax.jit(
    functools.partial(models.infer, models.build(name)),
    compiler_options=models.compiler_options.find(variables),
  )
  variables = jax.device_put(variables)
  images = jax.device_put(_images(NETWORKS[name][0]))
  return lambda: jax.block_until_ready(forward(variables, images))


def _keras(name: str) -> Callable[[], object]:
  os.environ['KERAS_BACKEND'] = 'tensorflow'
  import keras
  import tensorflow as tf

  size, application = NETWORKS[name]
  model = getattr(keras.applications, application)(
    weights=None,
    include_top=False,
    pooling='avg',
    input_shape=(size, size, 3),
  )
  forward = tf.function(lambda images: model(images, training=False))
  images = tf.constant(_images(size))
  return lambda: forward(images).numpy()


def _peak_mb() -> float:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (2**20 if sys.platform == 'darwin' else 2**10)


def _serve(peer: str, name: str, folder: str = '') -> None:
  """Makes a call for each line of the input, and says how long a batch took."""
  batches = 1
  if folder:
    run = torch_peers.call(peer, name, pathlib.Path(folder), batch_size=_BATCH)
    batches = torch_peers.BATCHES
  else:
    run = {'ours': _ours, 'keras': _keras}[peer](name)
  run()
  for _ in sys.stdin:
    start = time.perf_counter()
    run()
    seconds = (time.perf_counter() - start) / batches
    print(json.dumps([seconds, _peak_mb()]), flush=True)


def _compete(
  name: str,
  peers: Sequence[str],
  *,
  repeats: int,
  python: str = sys.executable,
  folder: str = '',
) -> dict:
  """Seconds and peak memory of each peer, which take turns."""
  processes = {
    peer: subprocess.Popen(
      [
        *(python, '-m', 'experiments.benchmarks.models'),
        f'--serve={peer}:{name}:{folder}'.rstrip(':'),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    for peer in peers
  }
  seconds, peak = {peer: [] for peer in peers}, {}
  # The first turn waits for compilations, and counts for neither.
  rng = np.random.default_rng(0)
  for turn in range(repeats + 1):
    # In another order each time, and after a rest: threads of who was before
    # spin on for a while, always to the cost of the same one else.
    for place in rng.permutation(len(peers)):
      peer, process = peers[place], processes[peers[place]]
      time.sleep(_REST)
      process.stdin.write('\n')
      process.stdin.flush()
      taken, peak[peer] = json.loads(process.stdout.readline())
      if turn:
        seconds[peer].append(taken)
  for process in processes.values():
    process.communicate()
  return {
    peer: {
      'images_per_second': _BATCH / statistics.median(seconds[peer]),
      'peak_mb': peak[peer],
    }
    for peer in peers
  }


def _save(prefix: str) -> None:
  """Writes a TensorFlow 1 checkpoint, in a process of its own."""
  import tensorflow as tf

  leaves = {
    'kernel': 'weights',
    'scale': 'gamma',
    'mean': 'moving_mean',
    'var': 'moving_variance',
  }
  variables = {
    f'{_RESTORED}/{"/".join((*path[1:-1], leaves.get(path[-1], "beta")))}': v
    for path, v in random_variables(_RESTORED).items()
  }
  tf.raw_ops.SaveV2(
    prefix=prefix,
    tensor_names=list(variables),
    shape_and_slices=[''] * len(variables),
    tensors=list(variables.values()),
  )


def _restore(prefix: str) -> None:
  """Restores a checkpoint, and prints seconds and multiples of its size."""
  import jax
  import tensorflow as tf

  from neucrab_jax import checkpoints

  # What any process that reads such files has in memory.
  del tf
  before = _peak_mb()
  start = time.perf_counter()
  backbone = checkpoints.restore(_RESTORED, prefix)
  seconds = time.perf_counter() - start
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(backbone.variables))
  print(json.dumps([seconds, (_peak_mb() - before) / (size / 2**20)]))


def measure_restoring() -> dict[str, float]:
  """Seconds and, as a multiple of the variables, memory."""
  with tempfile.TemporaryDirectory() as folder:
    printed = [
      subprocess.run(
        [
          *(sys.executable, '-m', 'experiments.benchmarks.models'),
          f'--{step}={pathlib.Path(folder) / "model.ckpt-1"}',
        ],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
      ).stdout
      for step in ('save', 'restore')
    ]
  seconds, memory = json.loads(printed[-1])
  return {'seconds': seconds, 'memory': memory}


def _row_of(name: str, found: dict) -> str:
  ours, keras = found['ours'], found.get('keras')
  theirs = ratio = ''
  if keras:
    theirs = f'{keras["images_per_second"]:.1f}'
    times = ours['images_per_second'] / keras['images_per_second']
    ratio = f'{times:.2f}×'
  return _ROW.format(
    name,
    NETWORKS[name][0],
    f'{ours["images_per_second"]:.1f}',
    theirs,
    ratio,
    f'{ours["peak_mb"]:.0f}',
    f'{keras["peak_mb"]:.0f}' if keras else '',
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--only', default='', help='prefixes of architectures')
  parser.add_argument('--repeats', type=int, default=5)
  parser.add_argument('--json', type=pathlib.Path)
  parser.add_argument('--peers', default=sys.executable, metavar='PYTHON')
  # Of the processes that it starts.
  for step in ('serve', 'save', 'restore'):
    parser.add_argument(f'--{step}', help=argparse.SUPPRESS)
  arguments = parser.parse_args()
  if arguments.serve:
    return _serve(*arguments.serve.split(':'))
  if arguments.save:
    return _save(arguments.save)
  if arguments.restore:
    return _restore(arguments.restore)
  only = tuple(prefix for prefix in arguments.only.split(',') if prefix)
  columns = 'architecture px images/s Keras ratio peak,MB Keras,MB'
  print(_ROW.format(*columns.split()), flush=True)
  networks = {}
  for name in NETWORKS:
    if not only or name.startswith(only):
      peers = ['ours', *(['keras'] if NETWORKS[name][1] else [])]
      networks[name] = _compete(name, peers, repeats=arguments.repeats)
      print(_row_of(name, networks[name]), flush=True)
  restoring = measure_restoring()
  print(
    f'\nRestoring {_RESTORED}: {restoring["seconds"]:.1f} s '
    f'(at most {_MOST_SECONDS:g} are asked), {restoring["memory"]:.1f} times '
    f'its size in memory (at most {_MOST_MEMORY:g})'
  )
  compete = functools.partial(_compete, repeats=arguments.repeats)
  timm = torch_peers.compare(arguments.peers, only, compete)
  if arguments.json:
    record = {'networks': networks, 'restoring': restoring, 'timm': timm}
    arguments.json.write_text(json.dumps(record, indent=1) + '\n')
  return None


if __name__ == '__main__':
  main()
