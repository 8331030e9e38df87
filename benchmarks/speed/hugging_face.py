"""The other side: a stock ModernBERT under ``transformers``' Trainer and masking collator, as its users train one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnar2mae.config import PretrainConfig
from dnar2mae.modalities.dna.modality import DnaModality
from dnar2mae.models.modernbert import to_config
from dnar2mae.tokenizers import KmerTokenizer
from dnar2mae.tokenizers.kmer_json import write_tokenizer
from dnar2mae.training.device import choose_device


class Windows(torch.utils.data.Dataset):
    """The windows of our run, one at a time, as their collator takes them."""

    def __init__(self, config: PretrainConfig, modality: DnaModality) -> None:
        self.size, self.source = config.steps * config.batch_size, modality.train

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return the tokens of a window."""
        return {"input_ids": self.source.batch(np.array([index])).tokens[0].long()}


def stock_model(config: PretrainConfig, modality: DnaModality, checkpoint: str | None = None) -> tuple[Any, bool]:
    """Return the ModernBERT of our run's sizes or a checkpoint, and whether it is a masked model (else causal)."""
    import transformers

    if checkpoint is None:
        sizes = to_config(config.model, KmerTokenizer(), modality.layout.tokens)
        sizes.pop("architectures")
        return transformers.ModernBertForMaskedLM(transformers.ModernBertConfig(**sizes)), True
    named = transformers.AutoConfig.from_pretrained(checkpoint).architectures or ["ForMaskedLM"]
    is_masked = "MaskedLM" in named[0]
    kind = transformers.AutoModelForMaskedLM if is_masked else transformers.AutoModelForCausalLM
    return kind.from_pretrained(checkpoint), is_masked


def stock_trainer(
    config: PretrainConfig,
    modality: DnaModality,
    folder: Path,
    *,
    warmup_steps: int = 0,
    checkpoint: str | None = None,
) -> Any:
    """Build their Trainer, with its defaults in all that our settings do not state.

    Parameters
    ----------
    config
        Sizes, batch, steps, peak learning rate, precision, the fixed mask ratio, the seed.
    modality
        Windows and tokenizer of our run.
    folder
        Where the tokenizer is written.
    warmup_steps
        Steps of linear warm-up before their linear decay; none by default.
    checkpoint
        Folder of a model to train in place of a new ModernBERT of our sizes.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    assert isinstance(modality.tokenizer, KmerTokenizer)
    write_tokenizer(modality.tokenizer, folder, modality.layout.tokens)
    device, autocast = choose_device(config)
    torch.manual_seed(config.seed)  # their Trainer seeds too late for weights that exist already
    model, is_masked = stock_model(config, modality, checkpoint)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "theirs"),
        per_device_train_batch_size=config.batch_size,
        max_steps=config.steps,
        learning_rate=config.optimizer.lr,
        warmup_steps=warmup_steps,
        seed=config.seed,
        bf16=autocast is torch.bfloat16,
        use_cpu=device.type == "cpu",
        optim="adamw_torch_fused",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        torch_compile=config.compile,
        dataloader_num_workers=config.num_workers,
    )
    collator = transformers.DataCollatorForLanguageModeling(
        transformers.AutoTokenizer.from_pretrained(folder),
        mlm=is_masked,
        mlm_probability=config.mask.ratio if is_masked else None,
    )
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        data_collator=collator,
        train_dataset=Windows(config, modality),
    )
    trainer.remove_callback(transformers.PrinterCallback)  # it prints among our own lines
    return trainer


def train(trainer: Any, after_step: Callable[[int], object]) -> None:
    """Let their Trainer train; call ``after_step`` with 0 as it begins and with the number of steps after each."""
    import transformers

    class AfterStep(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            after_step(0)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            after_step(state.global_step)

    trainer.add_callback(AfterStep())
    trainer.train()
