"""The members: for each of timm's architecture families (its modules) one small model that takes an image."""

from __future__ import annotations

#: timm's module -> a small model of it, at its own resolution.
FAMILIES: dict[str, str] = {
    "beit": "beit_base_patch16_224", "byoanet": "botnet26t_256", "byobnet": "repvgg_a0", "cait": "cait_xxs24_224",
    "coat": "coat_lite_tiny", "convit": "convit_tiny", "convmixer": "convmixer_768_32", "convnext": "convnext_atto",
    "cpubone": "cpubone_nano", "crossvit": "crossvit_9_240", "csatv2": "csatv2", "cspnet": "cs3darknet_s",
    "cspnext": "cspnext_tiny", "davit": "davit_tiny", "deit": "deit_tiny_patch16_224", "densenet": "densenet121",
    "dla": "dla46_c", "dpn": "dpn48b", "edgenext": "edgenext_xx_small", "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0", "efficientnet": "tinynet_e", "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0", "efficientvit_msra": "efficientvit_m0", "eva": "eva02_tiny_patch14_224",
    "fasternet": "fasternet_t0", "fastvit": "fastvit_t8", "focalnet": "focalnet_tiny_srf", "gcvit": "gcvit_xxtiny",
    "ghostnet": "ghostnet_050", "hardcorenas": "hardcorenas_a", "hgnet": "hgnetv2_b0", "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny", "hrnet": "hrnet_w18_small", "iformer": "iformer_t",
    "inception_next": "inception_next_atto", "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3", "inception_v4": "inception_v4", "lcnetv2": "lcnetv2_small", "levit": "levit_128s",
    "lowformer": "lowformer_b0", "mambaout": "mambaout_femto", "maxxvit": "coatnet_nano_rw_224",
    "metaformer": "poolformer_s12", "mlp_mixer": "resmlp_12_224", "mobilenetv3": "mobilenetv3_small_050",
    "mobilevit": "mobilevitv2_050", "mvitv2": "mvitv2_tiny", "naflexvit": "naflexvit_base_patch16_gap",
    "nest": "nest_tiny", "nextvit": "nextvit_small", "nfnet": "nfnet_l0", "pit": "pit_ti_224", "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m", "rdnet": "rdnet_tiny", "regnet": "regnetx_002", "repghost": "repghostnet_050",
    "repvit": "repvit_m0_9", "res2net": "res2net50_14w_8s", "resnest": "resnest14d", "resnet": "resnet10t",
    "resnetv2": "resnetv2_18", "rexnet": "rexnet_100", "selecsls": "selecsls42", "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s", "shvit": "shvit_s1", "sknet": "skresnet18", "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs", "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256", "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224", "tnt": "tnt_s_patch16_224", "tresnet": "tresnet_m", "twins": "twins_svt_small",
    "vgg": "vgg11", "visformer": "visformer_tiny", "vision_transformer": "vit_tiny_patch16_224",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224", "vision_transformer_relpos": "vit_relpos_small_patch16_224",
    "vision_transformer_sam": "samvit_base_patch16_224", "vitamin": "vitamin_small_224", "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw", "xception": "legacy_xception", "xception_aligned": "xception41",
    "xcit": "xcit_nano_12_p16_224",
}  # fmt: skip

#: Families that are left out, with the reason.
LEFT_OUT: dict[str, str] = {
    "deepseek_vit": "its smallest member has 412 M parameters",
    "gemma4_vit": "its smallest member has 167 M parameters",
    "mobilenetv5": "its smallest classifier has 294 M parameters",
    "nasnet": "its one member has 89 M parameters and 24 G multiply-accumulates",
    "pnasnet": "its one member has 86 M parameters and 25 G multiply-accumulates",
}
