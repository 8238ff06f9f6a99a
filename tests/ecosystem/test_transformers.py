"""`model.safetensors` beside a config.json is what `from_pretrained` loads, whole, in transformers 4 and 5."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.ecosystem.filled import differing, filled
from tests.ecosystem.packages import needs
from verifl.storage.run_directory import RunDirectory
from verifl.training.model_files import write_adapter, write_model
from verifl.training.tensors import TensorFilter, describe

pytestmark = pytest.mark.ecosystem
needs("transformers", "peft")

import peft  # noqa: E402  after it is known to be there
import transformers  # noqa: E402

SMALL = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
ADAPTERS_ONLY = TensorFilter(trainable_only=True)
TOKENS = torch.arange(6).reshape(1, 6)


def gpt2() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    return transformers.GPT2LMHeadModel(config)


def bert() -> Any:
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL, max_position_embeddings=8))


def t5() -> Any:
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    return transformers.T5ForConditionalGeneration(config)


MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": gpt2,  # ties lm_head to the embedding
    "t5": t5,  # one embedding under four names
    "bert": bert,
    "bert-mlm": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**SMALL)),  # ties a weight and a bias
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SMALL, num_key_value_heads=2, tie_word_embeddings=True)
    ),
    "vit": lambda: transformers.ViTForImageClassification(
        transformers.ViTConfig(**{**SMALL, "vocab_size": None}, image_size=8, patch_size=4)
    ),
    "gpt2 compiled": lambda: torch.compile(gpt2(), backend="eager"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_from_pretrained_finds_every_tensor(kind: str, tmp_path: Path) -> None:
    model = filled(MODELS[kind]())
    bare = getattr(model, "_orig_mod", model)
    bare.config.save_pretrained(tmp_path)
    write_model(model, tmp_path / "model.safetensors", {"federation": "tests"})
    loaded, report = type(bare).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert differing(loaded.state_dict(), bare.state_dict()) == []


def lora(**changes: Any) -> Any:
    return peft.LoraConfig(**{"r": 2, "target_modules": ["c_attn"], "task_type": "CAUSAL_LM", **changes})


PEFT: dict[str, tuple[Callable[[], Any], Any]] = {
    "lora": (gpt2, lora),
    "no task type": (gpt2, lambda: lora(task_type=None)),
    "dora": (gpt2, lambda: lora(use_dora=True)),
    "embedding": (gpt2, lambda: lora(target_modules=["wte"])),
    "vera": (gpt2, lambda: peft.VeraConfig(r=2, target_modules=["c_attn"])),
    "loha": (t5, lambda: peft.LoHaConfig(r=2, target_modules=["q"])),
    "ia3": (gpt2, lambda: peft.IA3Config(task_type="CAUSAL_LM")),
    "prompt": (gpt2, lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)),
    "head": (bert, lambda: lora(target_modules=["query"], task_type="SEQ_CLS")),
}


def scores(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        given = {"decoder_input_ids": TOKENS} if model.config.is_encoder_decoder else {}
        result: torch.Tensor = model(input_ids=TOKENS, **given).logits
    return result


def trained(adapted: Any) -> Any:
    """Only what is trainable of it changed."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.1 + 0.1 * torch.rand(parameter.shape, generator=generator))
    return adapted


@pytest.mark.parametrize("kind", PEFT)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_adapter_is_loaded_by_peft_into_the_model_it_was_made_for(kind: str, wrapped: bool, tmp_path: Path) -> None:
    base, config = PEFT[kind]
    adapted = trained(peft.get_peft_model(base(), config()))
    model = torch.nn.ModuleDict({"net": torch.compile(adapted, backend="eager")}) if wrapped else adapted
    folder = write_adapter(model, describe(model, ADAPTERS_ONLY), RunDirectory(tmp_path))
    assert folder == tmp_path / "adapter"
    loaded = peft.PeftModel.from_pretrained(base(), str(folder))
    assert torch.equal(scores(loaded), scores(adapted))
    assert not torch.equal(scores(loaded), scores(peft.get_peft_model(base(), config())))


def test_an_adapter_put_into_a_model_is_loaded_by_peft(tmp_path: Path) -> None:
    adapted = trained(peft.inject_adapter_in_model(lora(), gpt2()))
    folder = write_adapter(adapted, describe(adapted, ADAPTERS_ONLY), RunDirectory(tmp_path))
    assert torch.equal(scores(peft.PeftModel.from_pretrained(gpt2(), str(folder))), scores(adapted))


def test_an_adapter_that_transformers_added_is_loaded_by_transformers(tmp_path: Path) -> None:
    adapted, again = gpt2(), gpt2()
    try:
        adapted.add_adapter(lora())
    except ValueError as error:
        if "version of PEFT" not in str(error):
            raise
        pytest.skip(f"this transformers refuses this peft: {error}")
    folder = write_adapter(trained(adapted), describe(adapted, ADAPTERS_ONLY), RunDirectory(tmp_path))
    again.load_adapter(str(folder))
    assert torch.equal(scores(again), scores(adapted))


def test_several_adapters_are_kept_as_peft_keeps_them(tmp_path: Path) -> None:
    adapted = peft.get_peft_model(gpt2(), lora())
    adapted.add_adapter("second", lora(r=3))
    adapted.base_model.set_adapter(["default", "second"])
    folder = write_adapter(trained(adapted), describe(adapted, ADAPTERS_ONLY), RunDirectory(tmp_path))
    loaded = peft.PeftModel.from_pretrained(gpt2(), str(folder))
    loaded.load_adapter(str(tmp_path / "adapter" / "second"), "second")
    loaded.base_model.set_adapter(["default", "second"])
    assert torch.equal(scores(loaded), scores(adapted))


def test_there_is_no_adapter_where_anything_else_travels(tmp_path: Path) -> None:
    adapted = peft.get_peft_model(gpt2(), lora())
    assert write_adapter(adapted, describe(adapted), RunDirectory(tmp_path)) is None
    assert write_adapter(gpt2(), describe(gpt2()), RunDirectory(tmp_path)) is None
    assert not (tmp_path / "adapter").exists()


def test_the_recorded_names_are_those_of_peft() -> None:
    recorded = json.loads((Path(__file__).parent.parent / "verifl" / "training" / "peft_names.json").read_text())
    adapted = {
        "lora": peft.get_peft_model(gpt2(), lora()),
        "lora with head": peft.get_peft_model(bert(), lora(target_modules=["query"], task_type="SEQ_CLS")),
    }
    assert recorded == {kind: split_names(model) for kind, model in adapted.items()}


def split_names(model: Any) -> dict[str, list[str]]:
    """Which names of the state are trained."""
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    names = list(model.state_dict())
    return {
        "trained": [name for name in names if name in trainable],
        "frozen": [name for name in names if name not in trainable],
    }
