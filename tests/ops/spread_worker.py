# SPDX-License-Identifier: Apache-2.0
"""Fits on many devices, for test_devices.py.

  python spread_worker.py FOLDER DEVICES OUT [PORT RANK SIZE]

DEVICES are how many this process has; FOLDER/OUT.npz has what came out.
"""

import pathlib
import sys

import jax
import numpy as np


def main():
  folder, devices, out, *distributed = sys.argv[1:]
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', int(devices))
  if distributed:
    port, rank, size = distributed
    jax.distributed.initialize(
      f'127.0.0.1:{port}', num_processes=int(size), process_id=int(rank)
    )
  np.savez(pathlib.Path(folder) / f'{out}.npz', **fit(jax.devices()))


def fit(devices):
  from neucrab_jax.ops import gmm, kmeans, pca
  from tests.ops.clusters import make_features

  key = jax.random.key(0)
  x, _ = make_features(n=1003, spread=6)
  results = {}
  projection = pca.fit(x, devices=devices)
  results['energy'] = projection.explained_energy
  results['components'] = projection.components
  mixture = gmm.fit(key, x, num_components=6, devices=devices)
  results['means'] = mixture.means
  results['variances'] = mixture.variances
  found = kmeans.fit(key, x, num_clusters=6, devices=devices)
  results['centroids'] = found.centroids
  results['assignments'] = found.assignments
  return {name: np.asarray(value) for name, value in results.items()}


if __name__ == '__main__':
  main()
