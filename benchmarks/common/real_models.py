"""Architectures that nobody here wrote: the definitions of torchvision, timm and transformers, with weights left out.

Nothing is downloaded: weights are never asked for, and transformers gets configurations.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

os.environ.setdefault("HF_HUB_OFFLINE", "1")

IMAGE = (1, 3, 224, 224)
TOKENS = 64


@dataclass(frozen=True)
class RealModel:
    """One architecture.

    Args:
        library: where it comes from.
        make: makes the module, given the library.
        inputs: shapes, or a mapping or a list of what its forward takes.
        with_data: whether PyTorch's counter needs the values of these.
        partial: whether its end cannot be reached on shapes alone.
    """

    library: str
    make: Callable[[Any], Any]
    inputs: Any = IMAGE
    with_data: bool = False
    partial: bool = False

    def module(self, *, with_data: bool = False) -> torch.nn.Module:
        """The module, in evaluation mode; without memory for weights if its constructor allows that."""
        library = loaded(self.library)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            with contextlib.suppress(Exception), torch.device("meta"):
                if not self.with_data and not with_data:
                    return self.make(library).eval()
            return self.make(library).eval()

    def arguments(self) -> dict[str, Any]:
        """What ``from_torch`` takes."""
        more = {"partial": True} if self.partial else {}
        if isinstance(self.inputs, Mapping):
            return {"example_inputs": dict(self.inputs), **more}
        return {"input_size" if _is_of_shapes(self.inputs) else "example_inputs": self.inputs, **more}

    def called_with(self, device: str) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call on a device, by position and by name."""
        if isinstance(self.inputs, Mapping):
            return [], _moved(dict(self.inputs), device)
        if not _is_of_shapes(self.inputs):
            return _moved(list(self.inputs), device), {}
        shapes = self.inputs if isinstance(self.inputs, list) else [self.inputs]
        return [torch.rand(shape, device=device) for shape in shapes], {}


def _is_of_shapes(inputs: Any) -> bool:
    """Whether inputs are the shape of one tensor, or of several."""
    return all(isinstance(each, (int, tuple)) for each in inputs)


def _moved(values: Any, device: str) -> Any:
    return tree_map_only(torch.Tensor, lambda each: each.to(device), values)


def loaded(name: str) -> Any:
    """The library. The compiled operators of torchvision and torchaudio need not fit to this torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for prepare in (_torchvision, _torchaudio) if name != "torch" else ():  # the others import them
            with contextlib.suppress(ModuleNotFoundError):
                prepare()
        return importlib.import_module("torchvision.models" if name == "torchvision" else name)


_KEPT: list[Any] = []


def _torchvision() -> Any:
    while True:
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            if not _KEPT:
                _KEPT.append(torch.library.Library("torchvision", "FRAGMENT"))
            _KEPT[0].define(f"{missing[1]}(Tensor x) -> Tensor")
            for module in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
                del sys.modules[module]


def _torchaudio() -> Any:
    try:
        return importlib.import_module("torchaudio")
    except OSError:
        without: Any = types.ModuleType("torchaudio._extension")
        without._IS_TORCHAUDIO_EXT_AVAILABLE, without.fail_if_no_align = False, lambda function: function
        for module in [each for each in sys.modules if each.partition(".")[0] == "torchaudio"]:
            del sys.modules[module]
        sys.modules[without.__name__] = without
        return importlib.import_module("torchaudio")


def _vision(name: str, size: tuple[int, ...] = IMAGE, **options: Any) -> RealModel:
    return RealModel("torchvision", lambda models: getattr(models, name)(weights=None, **options), size)


def _timm(name: str, size: tuple[int, ...] = IMAGE) -> RealModel:
    return RealModel("timm", lambda timm: timm.create_model(name), size)


def _text(model: str, config: str, names: tuple[str, ...] = ("input_ids",), **options: Any) -> RealModel:
    tokens = torch.zeros(1, TOKENS, dtype=torch.int64)
    return RealModel(
        "transformers",
        lambda tf: getattr(tf, model)(getattr(tf, config)(**options)),
        dict.fromkeys(names, tokens),
    )


_SIZES = {
    "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
_TRANSLATOR = {
    "d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 1000, "pad_token_id": 0,
}  # fmt: skip


def _masked(model: str, config: str, sizes: Mapping[str, int] = _SIZES, /, **options: Any) -> RealModel:
    """A small model with a head, on 2 x 12 tokens of which a mask leaves out three; the counter needs its values."""
    ids, mask = torch.ones(2, 12, dtype=torch.int64), torch.ones(2, 12, dtype=torch.int64)
    mask[1, 9:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask} | ({"decoder_input_ids": ids} if sizes is _TRANSLATOR else {})
    return RealModel(
        "transformers", lambda tf: getattr(tf, model)(getattr(tf, config)(**{**sizes, **options})), inputs, True
    )


def _speech() -> RealModel:
    inputs = {
        "input_features": torch.zeros(1, 80, 3000),
        "decoder_input_ids": torch.zeros(1, TOKENS, dtype=torch.int64),
    }
    return RealModel(
        "transformers", lambda tf: tf.WhisperModel(tf.WhisperConfig(encoder_layers=2, decoder_layers=2)), inputs
    )


MODELS: Mapping[str, RealModel] = {
    **{
        name: _vision(name)
        for name in (
            "alexnet", "vgg16", "resnet18", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "regnet_y_400mf",
            "densenet121", "googlenet", "squeezenet1_0", "shufflenet_v2_x1_0", "mnasnet1_0", "mobilenet_v2",
            "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t",
        )
    },
    "inception_v3": _vision("inception_v3", (1, 3, 299, 299), init_weights=False),
    "deeplabv3_resnet50": RealModel(
        "torchvision", lambda models: models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None)
    ),
    "r3d_18": RealModel("torchvision", lambda models: models.video.r3d_18(weights=None), (1, 3, 8, 64, 64)),
    "mixer_b16_224": _timm("mixer_b16_224"),
    "ghostnet_100": _timm("ghostnet_100"),
    "hrnet_w18": _timm("hrnet_w18"),
    "xcit_tiny_12_p16_224": _timm("xcit_tiny_12_p16_224"),
    "mobilevit_s": _timm("mobilevit_s", (1, 3, 256, 256)),
    "coatnet_0_rw_224": _timm("coatnet_0_rw_224"),
    "nfnet_f0": _timm("nfnet_f0", (1, 3, 192, 192)),
    "beit_base_patch16_224": _timm("beit_base_patch16_224"),
    "efficientformer_l1": _timm("efficientformer_l1"),
    "poolformer_s12": _timm("poolformer_s12"),
    "gpt2": _text("GPT2Model", "GPT2Config", n_layer=4),
    "bert": _text("BertModel", "BertConfig", num_hidden_layers=4),
    "t5": _text("T5Model", "T5Config", ("input_ids", "decoder_input_ids"), num_layers=2),
    "llama": _text(
        "LlamaModel", "LlamaConfig", num_hidden_layers=2, hidden_size=512, intermediate_size=1024,
        num_attention_heads=8, num_key_value_heads=2,
    ),
    "gpt2_lm": _text("GPT2LMHeadModel", "GPT2Config", n_layer=2),
    "bert_mlm": _text("BertForMaskedLM", "BertConfig", num_hidden_layers=2),
    "t5_lm": _text("T5ForConditionalGeneration", "T5Config", ("input_ids", "decoder_input_ids"), num_layers=2),
    "llama_lm": _text(
        "LlamaForCausalLM", "LlamaConfig", num_hidden_layers=2, hidden_size=512, intermediate_size=1024,
        num_attention_heads=8, num_key_value_heads=2, tie_word_embeddings=True,
    ),
    "whisper": _speech(),
    "bert_masked": _masked("BertForMaskedLM", "BertConfig"),
    "roberta": _masked("RobertaForSequenceClassification", "RobertaConfig", max_position_embeddings=40),
    "albert": _masked("AlbertForMaskedLM", "AlbertConfig", embedding_size=32),
    "electra": _masked("ElectraForTokenClassification", "ElectraConfig", embedding_size=32),
    "distilbert": _masked(
        "DistilBertForQuestionAnswering", "DistilBertConfig", {}, dim=64, n_layers=1, n_heads=4, hidden_dim=64
    ),
    "longformer": _masked("LongformerForMaskedLM", "LongformerConfig", attention_window=4),
    "mistral": _masked("MistralForCausalLM", "MistralConfig", num_key_value_heads=2, use_cache=False),
    "gemma": _masked("GemmaForCausalLM", "GemmaConfig", head_dim=16, num_key_value_heads=2),
    "gemma2": _masked("Gemma2ForCausalLM", "Gemma2Config", head_dim=16, num_key_value_heads=2),
    "gemma3": _masked("Gemma3ForCausalLM", "Gemma3TextConfig", head_dim=16, num_key_value_heads=2),
    "qwen2": _masked("Qwen2ForCausalLM", "Qwen2Config", num_key_value_heads=2, use_cache=False),
    "qwen3": _masked("Qwen3ForCausalLM", "Qwen3Config", head_dim=16, num_key_value_heads=2),
    "phi": _masked("PhiForCausalLM", "PhiConfig"),
    "phi3": _masked("Phi3ForCausalLM", "Phi3Config", pad_token_id=0, num_key_value_heads=2),
    "gpt_neox": _masked("GPTNeoXForCausalLM", "GPTNeoXConfig", rotary_pct=1.0),
    "gptj": _masked(
        "GPTJForCausalLM", "GPTJConfig", {"vocab_size": 1000}, n_embd=64, n_layer=1, n_head=4, rotary_dim=8
    ),
    "bloom": _masked("BloomForCausalLM", "BloomConfig", {"vocab_size": 1000, "hidden_size": 64}, n_layer=1, n_head=4),
    "falcon": _masked("FalconForCausalLM", "FalconConfig"),
    "opt": _masked("OPTForCausalLM", "OPTConfig", ffn_dim=64, word_embed_proj_dim=64),
    "mpt": _masked("MptForCausalLM", "MptConfig", {"vocab_size": 1000}, d_model=64, n_heads=4, n_layers=1),
    "stablelm": _masked("StableLmForCausalLM", "StableLmConfig", num_key_value_heads=2),
    "olmo2": _masked("Olmo2ForCausalLM", "Olmo2Config"),
    "granite": _masked("GraniteForCausalLM", "GraniteConfig"),
    "bart": _masked("BartForConditionalGeneration", "BartConfig", _TRANSLATOR),
    "pegasus": _masked("PegasusForConditionalGeneration", "PegasusConfig", _TRANSLATOR),
    "marian": _masked("MarianMTModel", "MarianConfig", _TRANSLATOR),
    "led": _masked("LEDForConditionalGeneration", "LEDConfig", _TRANSLATOR, attention_window=4),
    "lstm": RealModel("torch", lambda torch: torch.nn.LSTM(64, 128, num_layers=2), (20, 4, 64)),
    "gru": RealModel("torch", lambda torch: torch.nn.GRU(64, 128, bidirectional=True), (20, 4, 64)),
    "transformer": RealModel(
        "torch", lambda torch: torch.nn.Transformer(64, 4, 2, 2, 128, batch_first=True), [(1, 10, 64), (1, 8, 64)]
    ),
}  # fmt: skip
"""Every architecture by name."""


def torch_macs(real: RealModel, model: torch.nn.Module, device: str = "meta") -> int:
    """PyTorch's own count: half of its FLOPs, until its end or until what it cannot run.

    The counter has no entry for the operators that put attention or the steps of a recurrent net together for
    processors, so these run apart.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    model = model.to(device).requires_grad_(False)
    args, kwargs = real.called_with(device)
    has_steps = any(isinstance(module, torch.nn.RNNBase) for module in model.modules())
    had_fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            _quietly(), torch.no_grad(), torch.device(device), sdpa_kernel(SDPBackend.MATH),
            torch.backends.mkldnn.flags(enabled=not has_steps), FlopCounterMode(display=False) as counter,
            contextlib.suppress(RuntimeError) if real.partial else contextlib.nullcontext(),
        ):  # fmt: skip
            model(*args, **kwargs)
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fast_path)
    return int(counter.get_total_flops()) // 2


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
