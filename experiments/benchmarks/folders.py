# SPDX-License-Identifier: Apache-2.0
"""How fast checkpoints of timm and transformers are, warm and cold.

    python -m experiments.benchmarks.folders 'checkpoints/*' [--json=FILE]

Each folder has a process of its own, which times restoring, compiling for a
batch of 16 images at the checkpoint's own size, and the median of five warm
calls. An `.onnx` beside a folder, of the same stem, has a row of its own.
"""

import argparse
import functools
import glob
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

_BATCH = 16
# Calls of which the median counts.
_WARM = 5
_ROW = '{:44} {:>5} {:>10} {:>10} {:>10} {:>8}'
_COLUMNS = ('images_per_second', 'restore', 'compile', 'peak_mb')


def _measure(reference: str) -> dict[str, float]:
  """What one checkpoint takes."""
  import jax

  from neucrab_jax import checkpoints, models

  start = time.perf_counter()
  backbone = checkpoints.restore(reference)
  restored = time.perf_counter() - start
  size = backbone.checkpoint.image_size
  rng = np.random.default_rng(0)
  images = rng.uniform(-1, 1, (_BATCH, size, size, 3)).astype(np.float32)
  variables, images = jax.device_put((backbone.variables, images))
  forward = jax.jit(
    functools.partial(models.infer, backbone.module),
    compiler_options=models.compiler_options.find(backbone.variables),
  )
  start = time.perf_counter()
  compiled = forward.lower(variables, images).compile()
  compiling = time.perf_counter() - start
  taken = []
  for _ in range(_WARM + 1):
    start = time.perf_counter()
    jax.block_until_ready(compiled(variables, images))
    taken.append(time.perf_counter() - start)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return {
    'size': size,
    'images_per_second': _BATCH / statistics.median(taken[1:]),
    'restore': restored,
    'compile': compiling,
    'peak_mb': peak / (2**20 if sys.platform == 'darwin' else 2**10),
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
  parser.add_argument('pattern', help='of folders')
  parser.add_argument('--json', type=pathlib.Path)
  # Of the processes that it starts.
  parser.add_argument('--one', action='store_true', help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.one:
    print(json.dumps(_measure(options.pattern)))
    return
  found = {}
  print(_ROW.format('', 'px', 'images/s', 'restore,s', 'compile,s', 'MB'))
  for folder in sorted(glob.glob(options.pattern)):
    exported = f'{folder}.onnx'
    for reference in (folder, *glob.glob(glob.escape(exported))):
      command = [sys.executable, '-m', 'experiments.benchmarks.folders']
      done = subprocess.run(
        [*command, '--one', reference],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
      )
      made = json.loads(done.stdout.splitlines()[-1])
      name = pathlib.Path(reference).name
      found[name] = made
      cells = (f'{made[column]:.1f}' for column in _COLUMNS)
      print(_ROW.format(name, made['size'], *cells), flush=True)
  if options.json:
    options.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
  main()
