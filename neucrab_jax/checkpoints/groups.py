# SPDX-License-Identifier: Apache-2.0
"""The groups of checkpoints, by name."""

import pathlib

from neucrab_jax.checkpoints import spec

_BUNDLED = pathlib.Path(__file__).parent


def _mini_1(name: str) -> spec.Checkpoint:
  return spec.Checkpoint(
    name=name,
    architecture='resnet_v2_mini',
    path=str(_BUNDLED / 'mini_1' / f'{name}.npz'),
    group='mini_1',
    image_size=32,
  )


# mini_1: one architecture under mixed supervision, as the paper's group I, in
# small. `python -m experiments.pretrain` makes the weights.
GROUPS: dict[str, tuple[spec.Checkpoint, ...]] = {
  'mini_1': tuple(
    map(
      _mini_1,
      (
        'mini_sup_glyphs',
        'mini_sup_glyphs_stage1',
        'mini_sup_textures',
        'mini_sup_exemplar',
        'mini_semi_rotation_10',
        'mini_rotation',
        'mini_exemplar',
        'mini_vae',
        'mini_random',
      ),
    )
  ),
}
