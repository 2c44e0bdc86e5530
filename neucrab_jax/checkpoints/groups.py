# SPDX-License-Identifier: Apache-2.0
"""The groups of checkpoints, by name.

Those of the paper are paths within the folder that `download`
fills: the contents of rank_ckpt.zip, and VTAB's TF-Hub modules. Its protocol is
VTAB's: every network gets the whole image, resized to 224 px.

Not known are the value range that the networks of rank_ckpt were trained with,
whose code expects [-1, 1]; whether its ResNets are of version 1 or 2, which
their variables tell; how the variables of VTAB's modules are named, of which
all names in public code are tried; whether those for jigsaw and relative patch
location stride as their training did; and what network encodes for VAE and WAE:
if none of ours has their variables, restoring says what variables they are.

Reference:
  Li et al., Ranking Neural Checkpoints, CVPR 2021, and the README of its
  release, google-research/rank_ckpt; Zhai et al., A Large-scale Study of
  Representation Learning with the Visual Task Adaptation Benchmark, 2019.
"""

import dataclasses
import pathlib
from typing import Any

from neucrab_jax import storage
from neucrab_jax.checkpoints import spec
from neucrab_jax.checkpoints.pretraining import Pretraining

_BUNDLED = pathlib.Path(__file__).parent

_RES50 = 'resnet_v1_50|resnet_v2_50'
_VTAB_RES50 = 's4l_resnet50_v2|rss_resnet50_v2'

# How slim's own code, and that of the generative modules' users, prepares
# images for them; all else is prepared as VTAB does.
_SLIM_INCEPTION = {'resize_method': 'slim_inception'}
_SLIM_VGG = {
  'resize_method': 'slim_vgg',
  'value_range': (
    (-123.68, -116.78, -103.94),
    (255 - 123.68, 255 - 116.78, 255 - 103.94),
  ),
}
_OWN: dict[str, dict[str, Any]] = {
  'biggan_discriminator': {'image_size': 128},
  'inception_resnet_v2': {'image_size': 299, **_SLIM_INCEPTION},
  'inception_v1': _SLIM_INCEPTION,
  'inception_v2': _SLIM_INCEPTION,
  'inception_v3': {'image_size': 299, **_SLIM_INCEPTION},
  'inception_v4': {'image_size': 299, **_SLIM_INCEPTION},
  'mobilenet_v1': _SLIM_INCEPTION,
  'mobilenet_v1_025': _SLIM_INCEPTION,
  'mobilenet_v2': _SLIM_INCEPTION,
  'mobilenet_v2_035': _SLIM_INCEPTION,
  'mobilenet_v3_large': _SLIM_INCEPTION,
  'mobilenet_v3_small': _SLIM_INCEPTION,
  'resnet_v1_101': _SLIM_VGG,
  'resnet_v1_50': _SLIM_VGG,
}


def with_own_preprocessing(checkpoint: spec.Checkpoint) -> spec.Checkpoint:
  """The spec, with the preprocessing of the network's own code."""
  first = checkpoint.architecture.split('|')[0]
  return dataclasses.replace(checkpoint, **_OWN.get(first, {}))


def _bundled(group: str, *names: str) -> tuple[spec.Checkpoint, ...]:
  """Checkpoints whose weights are here, each with a record of its training."""
  found = []
  for name in names:
    path = _BUNDLED / group / f'{name}.npz'
    made = storage.read_json(path.with_suffix('.json'), Pretraining)
    # Accuracies of other objectives are of other tasks.
    classifies = 'classify' in made.recipe.objectives
    found.append(
      spec.Checkpoint(
        name=name,
        architecture=made.recipe.architecture,
        path=str(path),
        group=group,
        image_size=32,
        upstream_accuracy=made.final_accuracy if classifies else None,
      )
    )
  return tuple(found)


def _vtab(name: str, architecture: str, **options: Any) -> spec.Checkpoint:
  return spec.Checkpoint(
    name=name.replace('-', '_'),
    architecture=architecture,
    path=f'vtab/{name}/1.tar.gz',
    group='neucrab_1',
    **options,
  )


def _generative(name: str) -> spec.Checkpoint:
  # The modules take images in [0, 1], as the discriminator's code does.
  return _vtab(
    name, f'biggan_discriminator|{_VTAB_RES50}', value_range=(0.0, 1.0)
  )


def _other_source(source: str) -> spec.Checkpoint:
  return spec.Checkpoint(
    name=f'sup_100_{source}',
    architecture=_RES50,
    path=f'{source}_res50/model.ckpt-300000',
    group='neucrab_1',
  )


def _stage(source: str, steps: int) -> spec.Checkpoint:
  return spec.Checkpoint(
    name=f'{source}_res50_{steps // 1000}k',
    architecture=_RES50,
    path=f'{source}_res50/model.ckpt-{steps}',
    group='neucrab_2',
  )


def _architecture(name: str) -> spec.Checkpoint:
  steps = 90_000 if name == 'inception_resnet_v2' else 300_000
  return spec.Checkpoint(
    name=f'imagenet_{name}',
    architecture=name,
    path=f'imagenet_{name}/model.ckpt-{steps}',
    group='neucrab_3',
  )


GROUPS: dict[str, tuple[spec.Checkpoint, ...]] = {
  # The groups of the paper in small: `python -m experiments.pretrain` makes the
  # weights, and `experiments/recipes.py` says from what.
  'mini_1': _bundled(
    'mini_1',
    'mini_wae_ukl',
    'mini_wae_gan',
    'mini_cond_gan',
    'mini_wae_mmd',
    'mini_vae',
    'mini_uncond_gan',
    'mini_jigsaw',
    'mini_relative_patch',
    'mini_exemplar',
    'mini_rotation',
    'mini_semi_rotation_10',
    'mini_semi_exemplar_10',
    'mini_sup_glyphs',
    'mini_sup_exemplar',
    'mini_sup_textures',
    'mini_sup_scenes',
  ),
  'mini_2': _bundled(
    'mini_2',
    *(
      f'mini_{source}_{stage}'
      for source in ('glyphs', 'textures', 'scenes')
      for stage in ('05', '20', '50', '100')  # Per cent of the run.
    ),
  ),
  'mini_3': _bundled(
    'mini_3',
    'mini_biggan_discriminator',
    'mini_inception_v2',
    'mini_inception_v2_wide',
    'mini_mobilenet_v1',
    'mini_mobilenet_v1_narrow',
    'mini_mobilenet_v2',
    'mini_mobilenet_v3',
    'mini_resnet_v1',
    'mini_resnet_v2',
    'mini_resnet_v2_deep',
    'mini_resnet_v2_narrow',
    'mini_resnet_v2_wide',
    'mini_s4l_resnet',
  ),
  # As it was initialised: what knows less is worth nothing.
  'control': _bundled('control', 'mini_random'),
  # About one architecture under mixed supervision.
  'neucrab_1': (
    *map(
      _generative,
      ('wae-ukl', 'wae-gan', 'cond-biggan', 'wae-mmd', 'vae', 'uncond-biggan'),
    ),
    *(
      _vtab(name, _VTAB_RES50)
      for name in (
        'jigsaw',
        'relative-patch-location',
        'exemplar',
        'rotation',
        'semi-rotation-10',
        'semi-exemplar-10',
        'sup-100',
        'sup-exemplar-100',
      )
    ),
    _other_source('inat'),
    _other_source('places'),
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
  # Thirteen architectures, each trained on ImageNet.
  'neucrab_3': tuple(
    map(
      _architecture,
      (
        'inception_resnet_v2',
        'inception_v1',
        'inception_v2',
        'inception_v3',
        'inception_v4',
        'mobilenet_v1',
        'mobilenet_v1_025',
        'mobilenet_v2',
        'mobilenet_v2_035',
        'mobilenet_v3_small',
        'mobilenet_v3_large',
        'resnet_v1_50',
        'resnet_v1_101',
      ),
    )
  ),
}
