"""A language model of Hugging Face whose LoRA adapter alone is trained, by the Trainer, and travels.

The model has random weights and reads counting sequences, so that nothing is downloaded. With a real one, replace
`_language_model` by `AutoModelForCausalLM.from_pretrained(...)`: every client starts from the same public weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

Samples = list[dict[str, Tensor]]  # of one sequence each: input_ids and labels (16,)
OFFICES = ["office-1", "office-2", "office-3"]
VOCABULARY = 24


class CausalModel:
    """Three offices that count in steps of their own."""

    def clients(self) -> Sequence[str]:
        """The offices."""
        return OFFICES

    def model(self) -> nn.Module:
        """The base model, frozen, with an adapter on its attention. `tensors.include` selects the adapter by name."""
        adapter = LoraConfig(
            r=4, lora_alpha=16, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, task_type="CAUSAL_LM"
        )
        return get_peft_model(_language_model(), adapter)

    def data(self, client: str) -> Samples:
        """64 sequences that count upwards from anywhere, in the office's steps or one more."""
        number = OFFICES.index(client)
        return _sequences(64, (number + 1, number + 2), seed=number)

    def train(self, model: nn.Module, client: str, data: Samples) -> None:
        """The Trainer as anywhere else; it writes nothing that is kept, and is seeded as verifl has seeded torch."""
        del client
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=8,
                per_device_train_batch_size=16,
                learning_rate=0.02,
                lr_scheduler_type="constant",
                seed=int(torch.randint(2**31, ())),
                use_cpu=next(model.parameters()).device.type == "cpu",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            Trainer(model=model, args=arguments, train_dataset=data).train()

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """The mean loss a token over sequences in steps of one to four."""
        device = next(model.parameters()).device
        tokens = torch.stack([each["input_ids"] for each in _sequences(128, (1, 2, 3, 4), seed=99)]).to(device)
        model.eval()
        with torch.no_grad():
            return {"loss": float(model(input_ids=tokens, labels=tokens).loss)}


def _language_model() -> Any:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_positions=16, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
        )
    )


def _sequences(count: int, steps: Sequence[int], seed: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(VOCABULARY, (count, 1), generator=generator)
    chosen = torch.tensor(steps)[torch.randint(len(steps), (count, 1), generator=generator)]
    tokens = (starts + chosen * torch.arange(16)) % VOCABULARY
    return [{"input_ids": row, "labels": row} for row in tokens]


def task() -> CausalModel:
    """verifl calls this."""
    return CausalModel()
