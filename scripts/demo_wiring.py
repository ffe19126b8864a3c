"""The weights that the known-cause model starts from: attention that knows where to look."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM

BLOCK = 20  # see `wire`: 0 the word itself, 1 to 4 the words before it, 5 what a first step has found
# Layer, head; attend from this block to the like of it in that block; pass on a block of what is there, to which block.
WIRED = (
    *((1, 0, 1, 0, 1, 0), (1, 1, 2, 4, 1, 5), (1, 2, 3, 4, 1, 5), (1, 3, 1, 3, 0, 0)),
    *((2, 0, 5, 4, 0, 0), (2, 1, 0, 1, 0, 0), (2, 2, 1, 2, 0, 0), (2, 3, 2, 3, 0, 0)),
)


@torch.no_grad()
def wire(model: LlamaForCausalLM) -> None:
    """Start from attention that knows where to look: from chance alone, a model of this size guesses for long.

    A word's embedding fills block 0 of the hidden state. The first layer's heads look 1, 2, 3, 4 words back, by a share
    that all embeddings have in common and whose key is turned by so many rotary positions, and write what they find to
    blocks 1 to 4. The heads of `WIRED` compare a block here with a block there, and lead from the fact to the answer
    once the MLPs and the last layer, which start at random, have learned when to heed them. Every weight is trained.
    """
    hidden, size, layers = model.config.hidden_size, model.config.head_dim, [x.self_attn for x in model.model.layers]
    still = (model.model.rotary_emb.inv_freq < 0.02).repeat(2).nonzero()[:BLOCK, 0]  # what rotary positions hardly turn

    def read(block: int) -> Tensor:
        weight = 0.02 * torch.randn(size, hidden)
        weight[still, 1 + BLOCK * block : 1 + BLOCK * (block + 1)] += torch.eye(BLOCK)
        return weight

    embeddings = model.model.embed_tokens.weight
    embeddings.zero_()
    embeddings[:, 1 : 1 + BLOCK] = F.normalize(torch.randn(len(embeddings), BLOCK), dim=-1)  # all of one length
    embeddings[:, 0] = 0.3
    wave = torch.zeros(2, size // 2)
    wave[:, :4] = 1.8  # the four quickest rotations
    wave = wave.flatten()
    for head in range(model.config.num_attention_heads):
        rows, back = slice(head * size, (head + 1) * size), head + 1
        cos, sin = model.model.rotary_emb(wave[None, None], torch.tensor([[back]]))
        turned = wave * cos[0, 0] + torch.cat([-wave[size // 2 :], wave[: size // 2]]) * sin[0, 0]
        for weight, share in ((layers[0].q_proj.weight, wave), (layers[0].k_proj.weight, turned)):
            weight[rows, 0] = share
        layers[0].v_proj.weight[rows] = read(0)
        layers[0].o_proj.weight[:, rows] = 0.1 * read(back).T
    for layer, head, here, there, passed, to in WIRED:
        rows = slice(head * size, (head + 1) * size)
        layers[layer].q_proj.weight[rows] = 1.5 * read(here)
        layers[layer].k_proj.weight[rows] = 1.5 * read(there)
        layers[layer].v_proj.weight[rows] = read(passed)
        layers[layer].o_proj.weight[:, rows] = 0.25 * read(to).T
