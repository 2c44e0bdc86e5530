# SPDX-License-Identifier: Apache-2.0
"""From the names of TensorFlow's variables to those of Flax.

Modules are named after the scopes of the checkpoints they come from, so that
one rule serves every architecture: the scope stays, and its last part changes.
"""

from collections.abc import Iterable

# The last part of a variable's name, and what Flax calls it.
_LEAVES = {
  'weights': ('params', 'kernel'),
  'kernel': ('params', 'kernel'),
  'depthwise_weights': ('params', 'depthwise_kernel'),
  'pointwise_weights': ('params', 'pointwise_kernel'),
  'biases': ('params', 'bias'),
  'bias': ('params', 'bias'),
  'gamma': ('params', 'scale'),
  'beta': ('params', 'bias'),
  'moving_mean': ('batch_stats', 'mean'),
  'moving_variance': ('batch_stats', 'var'),
  # Of BigGAN: the gate of its attention, and a kernel's singular vector.
  'sigma': ('params', 'sigma'),
  'u_var': ('batch_stats', 'u_var'),
}

# What helps training, and is no part of the network afterwards: heads for the
# tasks of self-supervision, a discriminator's verdict, its generator.
_AUXILIARY = {
  'AuxLogits',
  'rotations',
  'embeddings',
  'discriminator_rotation',
  'embedding_fc',
  'final_fc',
  'generator',
}


def to_flax(names: Iterable[str]) -> dict[str, str]:
  """Names the variables of a network as Flax does.

  Args:
    names: of all variables in a checkpoint, such as
      'resnet_v1_50/conv1/BatchNorm/gamma'.

  Returns:
    For each variable of the network the name that our `.npz` files have for it,
    such as 'params/conv1/BatchNorm/scale'. What belongs to the optimiser, the
    counter of steps, moving averages and auxiliary heads are left out. A scope
    around the whole network is dropped.
  """
  kept = {
    name: name.split('/')
    for name in names
    if name.rsplit('/', 1)[-1] in _LEAVES
    and _AUXILIARY.isdisjoint(name.split('/'))
  }
  outermost = {parts[0] for parts in kept.values() if len(parts) > 2}
  around = len(outermost) == 1 and all(
    len(parts) > 2 for parts in kept.values()
  )
  renamed = {}
  for name, (*scope, leaf) in kept.items():
    collection, new = _LEAVES[leaf]
    renamed[name] = '/'.join([collection, *scope[around:], new])
  return renamed
