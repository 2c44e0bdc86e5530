# SPDX-License-Identifier: Apache-2.0
"""How each bundled checkpoint is pre-trained: the paper's groups, in small."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What a checkpoint is, and what it is trained on.

  Attributes:
    source: a name of `experiments.sources`.
    objectives: of 'classify', 'rotate', 'exemplar', 'jigsaw',
      'relative_patch_location', 'generate', 'generate_conditionally' and
      `generative.AUTOENCODERS`; their losses are added.
    labelled: the share of training examples whose label may be used.
    share: of the run's steps that this checkpoint has seen.
    architecture: a name of `models.names()`.
    learning_rate: the peak of its schedule.
    seed: of initialisation, data, batches and augmentation.
  """

  source: str = 'mixed'
  objectives: tuple[str, ...] = ('classify',)
  labelled: float = 1.0
  share: float = 1.0
  architecture: str = 'resnet_v2_mini'
  learning_rate: float = 5e-3
  seed: int = 0


def _adversarial(objective: str) -> Recipe:
  # Two that play against each other take smaller steps.
  return Recipe(
    objectives=(objective,),
    architecture='biggan_discriminator_mini',
    learning_rate=1e-3,
  )


_MIXED_SUPERVISION = {
  'mini_wae_ukl': Recipe(objectives=('wae_ukl',)),
  'mini_wae_gan': Recipe(objectives=('wae_gan',)),
  'mini_cond_gan': _adversarial('generate_conditionally'),
  'mini_wae_mmd': Recipe(objectives=('wae_mmd',)),
  'mini_vae': Recipe(objectives=('vae',)),
  'mini_uncond_gan': _adversarial('generate'),
  'mini_jigsaw': Recipe(objectives=('jigsaw',)),
  'mini_relative_patch': Recipe(objectives=('relative_patch_location',)),
  'mini_exemplar': Recipe(objectives=('exemplar',)),
  'mini_rotation': Recipe(objectives=('rotate',)),
  'mini_semi_rotation_10': Recipe(
    objectives=('classify', 'rotate'), labelled=0.1
  ),
  'mini_semi_exemplar_10': Recipe(
    objectives=('classify', 'exemplar'), labelled=0.1
  ),
  'mini_sup_glyphs': Recipe(source='glyphs'),
  'mini_sup_exemplar': Recipe(objectives=('classify', 'exemplar')),
  'mini_sup_textures': Recipe(source='textures'),
  'mini_sup_scenes': Recipe(source='scenes'),
}

# Another seed: the last stages are not those of the group above.
_STAGES = {
  f'mini_{source}_{100 * share:02.0f}': Recipe(source, share=share, seed=1)
  for source in ('glyphs', 'textures', 'scenes')
  for share in (0.05, 0.2, 0.5, 1.0)
}

_ARCHITECTURES = {
  f'mini_{name.replace("_mini", "")}': Recipe(architecture=name)
  for name in (
    'biggan_discriminator_mini',
    'inception_v2_mini',
    'inception_v2_mini_wide',
    'mobilenet_v1_mini',
    'mobilenet_v1_mini_narrow',
    'mobilenet_v2_mini',
    'mobilenet_v3_mini',
    'resnet_v1_mini',
    'resnet_v2_mini',
    'resnet_v2_mini_deep',
    'resnet_v2_mini_narrow',
    'resnet_v2_mini_wide',
    's4l_resnet_mini',
  )
}

GROUPS: dict[str, dict[str, Recipe]] = {
  'mini_1': _MIXED_SUPERVISION,
  'mini_2': _STAGES,
  'mini_3': _ARCHITECTURES,
  # As it was initialised.
  'control': {'mini_random': Recipe(objectives=(), share=0.0)},
}

RECIPES = {
  name: recipe for group in GROUPS.values() for name, recipe in group.items()
}
