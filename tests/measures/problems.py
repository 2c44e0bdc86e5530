# SPDX-License-Identifier: Apache-2.0
"""Features with labels, of the kinds that real checkpoints give."""

import numpy as np


def make(
  kind: str, *, seed: int = 0, num_examples: int = 300, num_classes: int = 5
) -> tuple[np.ndarray, np.ndarray]:
  """Gaussian classes in 24 dimensions, distorted as `kind` says."""
  rng = np.random.default_rng(seed)
  dims = 2 * num_examples if kind == 'wide' else 24
  spread = 6.0 if kind == 'separable' else 1.0
  labels = rng.permutation(np.arange(num_examples) % num_classes)
  centres = spread * rng.standard_normal((num_classes, dims))
  x = centres[labels] + rng.standard_normal((num_examples, dims))
  x *= 0.9 ** np.arange(dims)
  if kind == 'correlated':
    x = x @ rng.standard_normal((dims, dims))
  scale = {'tiny': 1e-3, 'large': 1e3}.get(kind, 1.0)
  return (scale * x).astype(np.float32), labels.astype(np.int32)


KINDS = ('plain', 'wide', 'separable', 'correlated', 'tiny', 'large')


def make_source_probs(labels: np.ndarray, *, seed: int = 0) -> np.ndarray:
  """Probabilities of 8 source classes that know something of the labels."""
  rng = np.random.default_rng(seed)
  logits = rng.standard_normal((len(labels), 8))
  logits[np.arange(len(labels)), labels % 8] += 2
  probs = np.exp(logits)
  return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)
