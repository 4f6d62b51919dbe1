"""More architectures that nobody here wrote: those of libraries that people bring, which no extra of hwcost installs.

    pip install --no-deps segmentation-models-pytorch diffusers open-clip-torch ftfy wcwidth torchaudio
    pip install --no-deps ultralytics opencv-python-headless torch-geometric xxhash

Nothing is downloaded, and weights are random. What is not installed is not tried.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import torch

from common.real_models import MODELS, RealModel

IMAGE = (1, 3, 128, 128)


def is_installed(name: str) -> bool:
    """Whether the library of an architecture can be found."""
    return importlib.util.find_spec(ALL_MODELS[name].library) is not None


def _segmentation(kind: str, encoder: str = "resnet18", **options: Any) -> RealModel:
    return RealModel(
        "segmentation_models_pytorch", lambda smp: getattr(smp, kind)(encoder, encoder_weights=None, **options), IMAGE
    )


def _diffusion(kind: str, inputs: Any, **options: Any) -> RealModel:
    return RealModel("diffusers", lambda diffusers: getattr(diffusers, kind)(**options), inputs)


def _clip(name: str, side: int = 224, tokens: int = 77) -> RealModel:
    inputs = [torch.zeros(1, 3, side, side), torch.ones(1, tokens, dtype=torch.int64)]
    return RealModel("open_clip", lambda clip: clip.create_model(name, pretrained=None), inputs)


def _audio(kind: str, inputs: Any, *args: Any, **options: Any) -> RealModel:
    return RealModel("torchaudio", lambda audio: getattr(audio.models, kind)(*args, **options), inputs, True)


def _yolo(file: str, kind: str = "DetectionModel") -> RealModel:
    def make(_: Any) -> Any:
        return getattr(importlib.import_module("ultralytics.nn.tasks"), kind)(file, verbose=False)

    return RealModel("ultralytics", make, (1, 3, 256, 256), True)  # its classes hold tensors of the first device


def _backbone(name: str, side: int = 320) -> RealModel:
    return RealModel("torchvision", lambda models: _detector(models, name).backbone, (1, 3, side, side))


def _whole(name: str) -> RealModel:
    return RealModel(
        "torchvision", lambda models: _detector(models, name), [[torch.rand(3, 320, 320)]], True, partial=True
    )


def _detector(models: Any, name: str) -> Any:
    return getattr(models.detection, name)(weights=None, weights_backbone=None, num_classes=7)


def _timm(name: str, side: int = 224) -> RealModel:
    return RealModel("timm", lambda timm: timm.create_model(name), (1, 3, side, side))


def _pooled_graph(_: Any) -> torch.nn.Module:
    """The dense layers of graphs, put together as in the library's example of DiffPool."""
    dense = importlib.import_module("torch_geometric.nn.dense")

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.assign, self.embed = dense.DenseGCNConv(16, 8), dense.DenseSAGEConv(16, 32)
            self.after, self.head = dense.DenseGraphConv(32, 24), torch.nn.Linear(24, 5)

        def forward(self, x: torch.Tensor, adj: torch.Tensor) -> Any:
            pooled, smaller, *_ = dense.dense_diff_pool(self.embed(x, adj).relu(), adj, self.assign(x, adj))
            return self.head(self.after(pooled, smaller).mean(1))

    return Pooled()


def _tokens(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.int64)


_LATENT, _TEXT, _STEP = torch.zeros(1, 4, 16, 16), torch.zeros(1, 8, 32), torch.tensor([3])
_BLOCKS: Mapping[str, Any] = {"block_out_channels": (32, 64), "layers_per_block": 1}
_CROSSED: Mapping[str, Any] = {
    **_BLOCKS, "cross_attention_dim": 32, "attention_head_dim": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
}  # fmt: skip
_CODER: Mapping[str, Any] = {
    **_BLOCKS, "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
}  # fmt: skip
_HEADS: Mapping[str, Any] = {"num_attention_heads": 4, "attention_head_dim": 16, "num_layers": 2}

MORE_MODELS: Mapping[str, RealModel] = {
    **{
        f"timm_{name}": _timm(name)
        for name in (
            "convnextv2_atto", "levit_128s", "davit_tiny", "pvt_v2_b0", "edgenext_xx_small", "mobilenetv4_conv_small",
            "repvit_m1", "tnt_s_legacy_patch16_224", "res2net50_14w_8s", "convit_tiny", "cait_xxs24_224",
        )
    },
    "smp_unet": _segmentation("Unet"),
    "smp_unet_scse": _segmentation("Unet", decoder_attention_type="scse"),
    "smp_unetplusplus": _segmentation("UnetPlusPlus", "mobilenet_v2"),
    "smp_fpn": _segmentation("FPN", "efficientnet-b0"),
    "smp_deeplabv3plus": _segmentation("DeepLabV3Plus", "resnet34"),
    "smp_pspnet": _segmentation("PSPNet"),
    "smp_manet": _segmentation("MAnet"),
    "smp_linknet": _segmentation("Linknet"),
    "smp_pan": _segmentation("PAN"),
    "smp_upernet": _segmentation("UPerNet"),
    "smp_segformer": _segmentation("Segformer", "mit_b0"),
    "unet2d_condition": _diffusion(
        "UNet2DConditionModel", {"sample": _LATENT, "timestep": _STEP, "encoder_hidden_states": _TEXT},
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **_CROSSED,
    ),
    "unet2d": _diffusion(
        "UNet2DModel", {"sample": torch.zeros(1, 3, 16, 16), "timestep": 3}, **_BLOCKS,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ),
    "autoencoder_kl": _diffusion("AutoencoderKL", (1, 3, 32, 32), **_CODER),
    "autoencoder_tiny": _diffusion("AutoencoderTiny", (1, 3, 32, 32)),
    "vq_model": _diffusion("VQModel", (1, 3, 32, 32), **_CODER),
    "controlnet": _diffusion(
        "ControlNetModel",
        {
            "sample": _LATENT, "timestep": _STEP, "encoder_hidden_states": _TEXT,
            "controlnet_cond": torch.zeros(1, 3, 32, 32),
        },
        conditioning_embedding_out_channels=(16, 32), **_CROSSED,
    ),
    "dit": _diffusion(
        "DiTTransformer2DModel", {"hidden_states": _LATENT, "timestep": _STEP, "class_labels": torch.tensor([1])},
        sample_size=16, num_embeds_ada_norm=10, **_HEADS,
    ),
    "pixart": _diffusion(
        "PixArtTransformer2DModel",
        {
            "hidden_states": _LATENT, "timestep": _STEP, "encoder_hidden_states": _TEXT,
            "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
        },
        sample_size=16, cross_attention_dim=64, caption_channels=32, use_additional_conditions=False, **_HEADS,
    ),
    "sd3": _diffusion(
        "SD3Transformer2DModel",
        {
            "hidden_states": _LATENT, "encoder_hidden_states": _TEXT, "timestep": _STEP,
            "pooled_projections": torch.zeros(1, 32),
        },
        sample_size=16, in_channels=4, out_channels=4, joint_attention_dim=32, caption_projection_dim=64,
        pooled_projection_dim=32, **_HEADS,
    ),
    "flux": _diffusion(
        "FluxTransformer2DModel",
        {
            "hidden_states": torch.zeros(1, 16, 4), "encoder_hidden_states": _TEXT,
            "pooled_projections": torch.zeros(1, 32), "timestep": torch.tensor([0.5]),
            "img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(8, 3),
        },
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
    ),
    "wan": _diffusion(
        "WanTransformer3DModel",
        {
            "hidden_states": torch.zeros(1, 4, 2, 16, 16), "timestep": _STEP,
            "encoder_hidden_states": torch.zeros(1, 8, 16),
        },
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16, ffn_dim=32,
        num_layers=2,
    ),
    "clip_vit_b_32": _clip("ViT-B-32"),
    "clip_rn50": _clip("RN50"),
    "clip_coca": _clip("coca_ViT-B-32", tokens=76),
    "clip_mobile": _clip("MobileCLIP-S1", 256),
    "conformer": _audio("Conformer", [torch.zeros(2, 50, 80), torch.tensor([50, 40])], 80, 4, 128, 2, 31),
    "wav2vec2": _audio("wav2vec2_base", [torch.zeros(2, 8000), torch.tensor([8000, 6000])]),
    "wavlm": _audio("wavlm_base", (1, 8000)),
    "emformer": _audio(
        "Emformer", [torch.zeros(1, 68, 64), torch.tensor([64])], 64, 4, 128, 2, 16, right_context_length=4
    ),
    "emformer_rnnt": _audio(
        "emformer_rnnt_base", [torch.zeros(1, 68, 80), torch.tensor([64]), _tokens(1, 5), torch.tensor([5])], 64
    ),
    "conv_tasnet": _audio("ConvTasNet", (1, 1, 8000)),
    "tacotron2": _audio(
        "Tacotron2", [_tokens(1, 12), torch.tensor([12]), torch.zeros(1, 16, 20), torch.tensor([20])], n_mels=16
    ),
    "deepspeech": _audio("DeepSpeech", (1, 1, 30, 80), 80),
    "wavernn": _audio(
        "WaveRNN", [(1, 1, 48), (1, 1, 128, 10)], upsample_scales=[2, 2, 2], n_classes=32, hop_length=8
    ),
    "squim": _audio("squim_objective_base", (1, 16000)),
    "hdemucs": _audio("hdemucs_low", (1, 2, 16384), ["voice", "rest"]),
    "yolov5n": _yolo("yolov5n.yaml"),
    "yolov8n": _yolo("yolov8n.yaml"),
    "yolov8n_segment": _yolo("yolov8n-seg.yaml", "SegmentationModel"),
    "yolov9t": _yolo("yolov9t.yaml"),
    "yolov10n": _yolo("yolov10n.yaml"),
    "yolo11n": _yolo("yolo11n.yaml"),
    "yolo11n_pose": _yolo("yolo11n-pose.yaml", "PoseModel"),
    "yolo11n_classify": _yolo("yolo11n-cls.yaml", "ClassificationModel"),
    "yolo12n": _yolo("yolo12n.yaml"),
    "rtdetr_l": _yolo("rtdetr-l.yaml", "RTDETRDetectionModel"),
    "diff_pool": RealModel("torch_geometric", _pooled_graph, [(2, 20, 16), (2, 20, 20)]),
    "fasterrcnn_mobilenet_backbone": _backbone("fasterrcnn_mobilenet_v3_large_fpn"),
    "maskrcnn_backbone": _backbone("maskrcnn_resnet50_fpn"),
    "retinanet_backbone": _backbone("retinanet_resnet50_fpn"),
    "ssdlite_backbone": _backbone("ssdlite320_mobilenet_v3_large"),
    "ssdlite320": _whole("ssdlite320_mobilenet_v3_large"),
    "retinanet_resnet50": _whole("retinanet_resnet50_fpn"),
    "ssd300": _whole("ssd300_vgg16"),
}  # fmt: skip
"""Architectures of these libraries by name, and some of the others' that are not in :data:`real_models.MODELS`."""

ALL_MODELS: Mapping[str, RealModel] = {**MODELS, **MORE_MODELS}
