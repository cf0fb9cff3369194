#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/weights.h"

namespace mkvm::model {

std::vector<TensorSpec> RequiredTensors(const Config& config) {
  const uint64_t hidden = config.hidden_size;
  const uint64_t ff = config.intermediate_size;
  const uint64_t dim = config.head_dim;
  const uint64_t q = config.num_q_heads * dim;
  const uint64_t kv = config.num_kv_heads * dim;
  std::vector<TensorSpec> specs;
  specs.reserve(3 + 11 * size_t{config.num_layers});
  specs.push_back({"model.embed_tokens.weight", {config.vocab_size, hidden}});
  for (uint32_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string at = absl::StrCat("model.layers.", layer, ".");
    const auto add = [&](const char* name, std::vector<uint64_t> shape) {
      specs.push_back({absl::StrCat(at, name, ".weight"), std::move(shape)});
    };
    add("input_layernorm", {hidden});
    add("self_attn.q_proj", {q, hidden});
    add("self_attn.k_proj", {kv, hidden});
    add("self_attn.v_proj", {kv, hidden});
    add("self_attn.q_norm", {dim});
    add("self_attn.k_norm", {dim});
    add("self_attn.o_proj", {hidden, q});
    add("post_attention_layernorm", {hidden});
    add("mlp.gate_proj", {ff, hidden});
    add("mlp.up_proj", {ff, hidden});
    add("mlp.down_proj", {hidden, ff});
  }
  specs.push_back({"model.norm.weight", {hidden}});
  if (!config.tie_word_embeddings) {
    specs.push_back({"lm_head.weight", {config.vocab_size, hidden}});
  }
  return specs;
}

}  // namespace mkvm::model
