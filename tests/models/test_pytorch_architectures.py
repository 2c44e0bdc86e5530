# SPDX-License-Identifier: Apache-2.0
"""Which of timm's architectures are taken, by name."""

import pytest

from neucrab_jax.models import pytorch

KNOWN = [
  'vit_huge_patch14_224',
  'vit_large_patch14_clip_336',
  'vit_giant_patch14_dinov2',
  'vit_giant_patch14_reg4_dinov2',
  'vit_so400m_patch14_siglip_378',
  'vit_base_patch16_224_miil',
  'flexivit_small',
  'vit_betwixt_patch16_reg4_gap_256',
  'test_vit',
  'deit3_large_patch16_384',
  'deit_base_distilled_patch16_384',
  'resnet101',
  'resnet26t',
  'resnet152d',
  'tv_resnet50',
  'resnext101_32x8d',
  'resnext50d_32x4d',
  'wide_resnet101_2',
  'seresnet152d',
  'seresnext101_32x4d',
  'gluon_resnet50_v1b',
  'test_resnet',
  'convnext_xlarge',
  'convnext_base_in22k',
  'convnextv2_huge',
  'efficientnet_b7',
  'tf_efficientnet_b7',
  'tf_efficientnet_l2',
  'tf_efficientnet_lite4',
  'tf_efficientnetv2_xl',
  'efficientnetv2_rw_m',
  'efficientnet_es',
  'mobilenetv1_100',
  'mobilenetv1_100h',
  'mobilenetv2_120d',
  'mobilenetv3_large_150d',
  'tf_mobilenetv3_small_minimal_100',
  'swin_large_patch4_window12_384',
  'swin_s3_base_224',
  'regnetx_320',
  'regnety_1280',
  'densenet201',
  'tv_densenet121',
]
UNKNOWN = [
  'resnetv2_50',
  'resnetrs50',
  'resnetblur50',
  'ecaresnet50d',
  'resnet50_gn',
  'resnet51q',
  'legacy_seresnet50',
  'skresnet18',
  'swinv2_tiny_window8_256',
  'regnetz_b16',
  'densenetblur121d',
  'efficientnet_cc_b0_4e',
  'efficientnet_b0_gn',
  'mobilenetv4_conv_small',
  'vit_small_patch16_dinov3',
  'vit_relpos_base_patch16_224',
  'vit_base_patch16_rope_224',
  'samvit_base_patch16',
  'beit_base_patch16_224',
  'vit_small_patch16_18x2_224',
  'convnext_nano_ols',
  'convnext_tiny_hnf',
  'vit_small_r26_s32_224',
  'xcit_nano',
]


@pytest.mark.parametrize('name', [*KNOWN, *UNKNOWN])
def test_timms_architectures_are_told_apart(name):
  with pytest.raises(ValueError) as caught:  # noqa: PT011
    pytorch.build(pytorch.Layout({}, name, {}))
  # Of a known one, a variable is missing.
  is_unknown = isinstance(caught.value, pytorch.UnsupportedError)
  assert is_unknown == (name in UNKNOWN)
