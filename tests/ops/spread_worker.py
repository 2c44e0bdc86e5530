# SPDX-License-Identifier: Apache-2.0
"""Fits on many devices, for test_devices.py: OUT DEVICES [PORT RANK SIZE]."""

import sys

import jax
import numpy as np


def main():
  out, num_devices, *distributed = sys.argv[1:]
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', int(num_devices))
  if distributed:
    port, rank, size = distributed
    jax.distributed.initialize(
      f'127.0.0.1:{port}', num_processes=int(size), process_id=int(rank)
    )
  from conftest import make_features

  from neucrab_jax.ops import gmm, kmeans, pca

  key, devices = jax.random.key(0), jax.devices()
  x, _ = make_features(n=1003, spread=6)
  results = {}
  projection = pca.fit(x, devices=devices)
  results['energy'] = projection.explained_energy
  results['components'] = projection.components
  mixture = gmm.fit(
    key, x, initial_means=x[:6], max_iterations=5, devices=devices
  )
  results['means'] = mixture.means
  results['variances'] = mixture.variances
  seeded = gmm.fit(key, x, num_components=6, devices=devices)
  results['means_seeded'] = seeded.means
  found = kmeans.fit(key, x, num_clusters=6, devices=devices)
  results['centroids'] = found.centroids
  results['assignments'] = found.assignments
  np.savez(out, **results)


if __name__ == '__main__':
  main()
