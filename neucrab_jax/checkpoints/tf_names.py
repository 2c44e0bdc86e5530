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


# What the name of a variable's moving average ends in.
_AVERAGE = '/ExponentialMovingAverage'


def to_flax(names: Iterable[str], *, averages: bool = False) -> dict[str, str]:
  """Names the variables of a network as Flax does.

  Args:
    names: of all variables in a checkpoint, such as
      'resnet_v1_50/conv1/BatchNorm/gamma'.
    averages: whether to read, in place of each variable, its exponential moving
      average where there is one. TF-slim evaluates some of its networks, such
      as MobileNets, by these; what the paper's authors released is read raw, as
      their code does.

  Returns:
    For each variable of the network the name that our `.npz` files have for it,
    such as 'params/conv1/BatchNorm/scale'. What belongs to the optimiser, the
    counter of steps, moving averages and auxiliary heads are left out. A scope
    around the whole network is dropped.
  """
  names = tuple(names)
  averaged = frozenset(names) if averages else frozenset()
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
    average = f'{name}{_AVERAGE}'
    renamed[average if average in averaged else name] = '/'.join(
      [collection, *scope[around:], new]
    )
  return renamed


def averages_note(skipped: Iterable[str], *, averages: bool) -> tuple[str, ...]:
  """What to say of weights that were left for others of the same checkpoint.

  Args:
    skipped: names of the variables that were not read.
    averages: whether moving averages were wanted.
  """
  skipped = set(skipped)
  unread = {name.removesuffix(_AVERAGE) for name in skipped} - skipped
  if not averages and unread:
    return (
      f'Its raw weights are used. The checkpoint also holds exponential moving '
      f'averages of {len(unread)} variables: --config.weights=averages takes '
      'them.',
    )
  replaced = {
    name
    for name in skipped
    if name.rsplit('/', 1)[-1] in _LEAVES
    and _AUXILIARY.isdisjoint(name.split('/'))
  }
  if averages and replaced:
    return (
      f'The exponential moving averages of {len(replaced)} variables are used, '
      'not their raw weights, which the checkpoint holds, too.',
    )
  if averages:
    return (
      'Its raw weights are used: the checkpoint holds no moving averages.',
    )
  return ()
