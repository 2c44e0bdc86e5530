# SPDX-License-Identifier: Apache-2.0
"""Networks of timm here and in PyTorch, ONNX Runtime, and ONNX through us.

What `experiments.benchmarks.models` lets take turns; each is called with two
batches of images, which run at once here, as in an extraction, and one after
the other elsewhere. Weights are random: their values change no time.
"""

import functools
import importlib.util
import pathlib
import subprocess
import tempfile
from collections.abc import Callable
from concurrent import futures

import numpy as np

NETWORKS = (
  'resnet18',
  'resnet50',
  'vit_small_patch16_224',
  'convnext_tiny',
  'efficientnet_b0',
  'mobilenetv3_large_100',
)
SIZE = 224
# Batches of a call.
BATCHES = 2

# Peer: the packages that it needs beside ours.
PEERS = {
  'native': (),
  'own ONNX': (),
  'PyTorch': ('torch', 'timm'),
  'ONNX Runtime': ('onnxruntime',),
}
# What the files are made with.
NEEDED = ('torch', 'timm', 'onnxscript', 'onnx', 'safetensors')

_ROW = '{:22}' + ' {:>12}' * 4 + ' {:>9}' * 3


def missing(packages: tuple[str, ...]) -> list[str]:
  """Those that this Python has not."""
  return [p for p in packages if importlib.util.find_spec(p) is None]


def make(name: str, folder: pathlib.Path) -> None:
  """Writes a network as a repository of the hub has it, and as ONNX."""
  import timm
  import torch

  from neucrab_jax.checkpoints import exporters

  torch.manual_seed(0)
  network = timm.create_model(name, pretrained=False).eval()
  folder.mkdir(parents=True, exist_ok=True)
  timm.models.save_for_hf(network, str(folder), safe_serialization=True)
  exporters.from_timm(
    name, folder / 'x.onnx', weights=str(folder / 'model.safetensors')
  )


def _through_us(file: str, images: np.ndarray) -> Callable[[], object]:
  import jax

  from neucrab_jax import checkpoints, models

  backbone = checkpoints.restore(file)
  forward = jax.jit(
    functools.partial(models.infer, backbone.module),
    compiler_options=models.compiler_options.find(backbone.variables),
  )
  variables, given = jax.device_put((backbone.variables, images))
  pool = futures.ThreadPoolExecutor(BATCHES)

  def run(given: object) -> object:
    return jax.block_until_ready(forward(variables, given))

  run(given)  # Compiled once.
  return lambda: list(pool.map(run, [given] * BATCHES))


def _torch(name: str, images: np.ndarray) -> Callable[[], object]:
  import timm
  import torch

  network = timm.create_model(name, pretrained=False).eval()
  given = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))

  def run() -> object:
    with torch.inference_mode():
      return [network(given) for _ in range(BATCHES)]

  return run


def _onnxruntime(file: str, images: np.ndarray) -> Callable[[], object]:
  import onnxruntime

  session = onnxruntime.InferenceSession(
    file, providers=['CPUExecutionProvider']
  )
  given = {'images': np.ascontiguousarray(np.moveaxis(images, -1, 1))}
  return lambda: [session.run(None, given) for _ in range(BATCHES)]


def call(
  peer: str, name: str, folder: pathlib.Path, *, batch_size: int
) -> Callable[[], object]:
  """What runs `BATCHES` batches by a peer.

  Args:
    peer: of `PEERS`.
    name: of `NETWORKS`.
    folder: that `make` wrote.
    batch_size: of the images.
  """
  rng = np.random.default_rng(0)
  images = rng.uniform(-1, 1, (batch_size, SIZE, SIZE, 3)).astype(np.float32)
  if peer == 'PyTorch':
    return _torch(name, images)
  if peer == 'native':
    return _through_us(str(folder), images)
  run = _through_us if peer == 'own ONNX' else _onnxruntime
  return run(str(folder / 'x.onnx'), images)


def compare(
  python: str, only: tuple[str, ...], compete: Callable[..., dict]
) -> dict:
  """Prints images a second of each peer, and our ratios to the others.

  Args:
    python: that runs them all.
    only: what names begin with; all of them if it is empty.
    compete: has peers take turns, and gives `images_per_second` of each.
  """
  code = (
    'from experiments.benchmarks import torch_peers as t;'
    'print(*t.missing(t.NEEDED), sep=",");'
    'print(*[p for p, n in t.PEERS.items() if not t.missing(n)], sep=",")'
  )
  told = subprocess.run(
    [python, '-c', code], check=True, stdout=subprocess.PIPE, text=True
  ).stdout
  lacking, peers = (line.split(',') for line in told.splitlines())
  if any(lacking):
    print(f'\n{python} lacks {", ".join(lacking)}: no networks of timm.')
    return {}
  others = [peer for peer in PEERS if peer != 'native']
  ratios = [f'/{peer.split()[-1]}' for peer in others]
  print('\n' + _ROW.format('timm, images/s', *PEERS, *ratios))
  found = {}
  for name in NETWORKS:
    if only and not name.startswith(only):
      continue
    with tempfile.TemporaryDirectory() as folder:
      code = (
        'import pathlib, sys; from experiments.benchmarks import torch_peers;'
        'torch_peers.make(sys.argv[1], pathlib.Path(sys.argv[2]))'
      )
      quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
      subprocess.run([python, '-c', code, name, folder], check=True, **quiet)
      found[name] = compete(name, peers, python=python, folder=folder)
    speeds = {p: each['images_per_second'] for p, each in found[name].items()}
    print(
      _ROW.format(
        name,
        *(f'{speeds[p]:.1f}' if p in speeds else '' for p in PEERS),
        *(
          f'{speeds["native"] / speeds[p]:.2f}×' if p in speeds else ''
          for p in others
        ),
      ),
      flush=True,
    )
  return found
