"""Networks of any backbone as classes of ``transformers``, known to its Auto classes once this module is imported."""

from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput

from dnar2mae.batch import Layout
from dnar2mae.config import ModelConfig
from dnar2mae.models import MaskedModel
from dnar2mae.models.hidden_states import embedded_outputs
from dnar2mae.run.exported import MODEL_TYPE, from_config
from dnar2mae.tokenizers import KmerTokenizer

_IGNORED = -100
_READY = "_is_hf_initialized"  # the mark of transformers on a parameter that has its value


class Dnar2maeConfig(PretrainedConfig):
    """Settings of a network of any backbone.

    Parameters
    ----------
    model
        Settings of :class:`dnar2mae.config.ModelConfig`; those left out have their defaults.
    vocabulary
        Fields of :class:`dnar2mae.tokenizers.Vocabulary`; by default that of single bases.
    max_position_embeddings
        Tokens of the longest window that the network was trained on.
    **settings
        Those of any configuration.
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        vocabulary: dict[str, Any] | None = None,
        max_position_embeddings: int = 512,
        **settings: Any,
    ) -> None:
        self.model = asdict(ModelConfig()) | (model or {})
        self.vocabulary = vocabulary or asdict(KmerTokenizer().vocabulary)
        self.max_position_embeddings = max_position_embeddings
        super().__init__(**settings)

    @property
    def vocab_size(self) -> int:
        """Number of logits of a token."""
        return self.vocabulary["size"]

    @property
    def hidden_size(self) -> int:
        """Size of a token's vector."""
        return self.model["width"]

    @property
    def num_hidden_layers(self) -> int:
        """Number of layers."""
        return self.model["depth"]

    def network(self) -> MaskedModel:
        """Build the network."""
        model, vocabulary = from_config(vars(self), self.name_or_path or MODEL_TYPE)
        length = self.max_position_embeddings
        return MaskedModel.of_tokens(model, vocabulary, Layout(axes=(length,), tokens=length))


class Dnar2maeModel(PreTrainedModel):
    """A network's hidden states.

    Parameters
    ----------
    config
        Its settings.
    """

    config_class = Dnar2maeConfig
    base_model_prefix = ""  # the weights have one name, whatever class reads them
    supports_gradient_checkpointing = True

    def __init__(self, config: Dnar2maeConfig) -> None:
        super().__init__(config)
        self.network = config.network()
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of tokens."""
        return self.network.embedder.get_submodule("embedding")

    def forward(
        self,
        input_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Int[Tensor, "B T"] | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        inputs_embeds: Float[Tensor, "B T D"] | None = None,
    ) -> BaseModelOutput | tuple:
        """Encode tokens.

        Parameters
        ----------
        input_ids
            Token ids.
        attention_mask
            0 where there is padding, whose vectors in the last layer are zero.
        inputs_embeds
            In place of token ids their rows of :meth:`get_input_embeddings`, or any mixture of rows, as methods of
            attribution need; gradients flow to it.
        output_hidden_states
            Return the embedding and the output of every layer too; the last one is that of the final norm.
        return_dict
            False: return a tuple.
        """
        last, states = self._encode(input_ids, inputs_embeds, attention_mask, output_hidden_states)
        output = BaseModelOutput(last_hidden_state=last, hidden_states=states)
        return output.to_tuple() if return_dict is False else output

    def _encode(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        attention_mask: Tensor | None,
        all_states: bool | None,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """Return the last hidden state, and all of them if they are wanted."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        valid = None if attention_mask is None else attention_mask.bool()
        embedder, depth = self.network.embedder, self.network.config.depth
        x = embedder(input_ids) if inputs_embeds is None else embedder.get_submodule("norm")(inputs_embeds)
        wants_all = self.config.output_hidden_states if all_states is None else all_states
        states = embedded_outputs(self.network, x, valid, range(depth + 1) if wants_all else [depth])
        return states[-1], tuple(states) if wants_all else None

    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights that no file gave: all at once, when the first of them is due."""
        if all(getattr(parameter, _READY, False) for parameter in module.parameters(recurse=False)):
            return
        seed = int(torch.randint(2**63 - 1, ()))  # from the global generator, as transformers draws
        self.network.reset_parameters(torch.Generator().manual_seed(seed), _fill)


class Dnar2maeForMaskedLM(Dnar2maeModel):
    """A network with its predictions of masked tokens."""

    def forward(  # type: ignore[override]
        self,
        input_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Int[Tensor, "B T"] | None = None,
        labels: Int[Tensor, "B T"] | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        inputs_embeds: Float[Tensor, "B T D"] | None = None,
        **loss_settings: Any,
    ) -> MaskedLMOutput | tuple:
        """Predict tokens.

        Parameters
        ----------
        input_ids, attention_mask, inputs_embeds, output_hidden_states, return_dict
            As for :class:`Dnar2maeModel`.
        labels
            True ids of masked tokens, -100 elsewhere. Special tokens, such as [UNK] of an N, do not count: they are
            never predicted.
        **loss_settings
            As ``Trainer`` gives them.
        """
        last, states = self._encode(input_ids, inputs_embeds, attention_mask, output_hidden_states)
        logits, loss = self.network.logits(last), None
        if labels is not None:
            vocabulary = self.network.vocabulary
            labels = labels.where(vocabulary.is_real(labels), _IGNORED)
            loss = self.loss_function(logits, labels, vocab_size=vocabulary.size, **loss_settings)
        output = MaskedLMOutput(loss=loss, logits=logits, hidden_states=states)
        return output.to_tuple() if return_dict is False else output


def _fill(parameter: Tensor, value: Tensor) -> None:
    if not getattr(parameter, _READY, False):
        parameter.copy_(value)
        setattr(parameter, _READY, True)


AutoConfig.register(MODEL_TYPE, Dnar2maeConfig)
AutoModel.register(Dnar2maeConfig, Dnar2maeModel)
AutoModelForMaskedLM.register(Dnar2maeConfig, Dnar2maeForMaskedLM)
