# SPDX-License-Identifier: Apache-2.0
"""The groups of checkpoints, by name.

Those of the paper are paths within rank_ckpt.zip. Which value range its
networks were trained with is not known; whether its ResNets are of version 1
or 2, their variables tell.

Reference:
  Li et al., Ranking Neural Checkpoints, CVPR 2021, and the README of its
  release, google-research/rank_ckpt.
"""

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


def _stage(source: str, steps: int) -> spec.Checkpoint:
  return spec.Checkpoint(
    name=f'{source}_res50_{steps // 1000}k',
    architecture='resnet_v1_50|resnet_v2_50',
    path=f'{source}_res50/model.ckpt-{steps}',
    group='neucrab_2',
  )


GROUPS: dict[str, tuple[spec.Checkpoint, ...]] = {
  # One architecture under mixed supervision, as the paper's group I, in small.
  # `python -m experiments.pretrain` makes the weights.
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
  # Three supervised runs, each at four stages.
  'neucrab_2': tuple(
    _stage(source, steps)
    for source, stages in {
      'imagenet': (90_000, 180_000, 270_000, 300_000),
      'inat': (90_000, 180_000, 270_000, 300_000),
      'places': (60_000, 120_000, 180_000, 200_000),
    }.items()
    for steps in stages
  ),
}
