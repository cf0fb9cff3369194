#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "model/config.h"
#include "model/hash.h"

namespace mkvm::model {
namespace {

struct Geometry {
  const char* name;
  uint32_t hidden, ff, layers, q_heads, kv_heads;
  uint32_t vocab;
  bool tied;
};

constexpr Geometry kGeometries[] = {
    {"qwen3-0.6b", 1024, 3072, 28, 16, 8, 151936, true},
    {"qwen3-1.7b", 2048, 6144, 28, 16, 8, 151936, true},
    {"qwen3-4b", 2560, 9728, 36, 32, 8, 151936, true},
    {"qwen3-8b", 4096, 12288, 36, 32, 8, 151936, false},
    {"qwen3-14b", 5120, 17408, 40, 40, 8, 151936, false},
    {"qwen3-32b", 5120, 25600, 64, 64, 8, 151936, false},
    {"qwen3-tiny", 256, 768, 2, 4, 2, 1024, true},
};
constexpr uint32_t kPublishedVocab = 151936;

Config ConfigOf(const Geometry& g) {
  Config config;
  config.name = g.name;
  config.hidden_size = g.hidden;
  config.intermediate_size = g.ff;
  config.num_layers = g.layers;
  config.num_q_heads = g.q_heads;
  config.num_kv_heads = g.kv_heads;
  config.head_dim = 128;
  config.vocab_size = g.vocab;
  config.max_positions = 40960;
  config.rope_theta = 1e6;
  config.rms_norm_eps = 1e-6f;
  config.tie_word_embeddings = g.tied;
  // <|im_end|> and <|endoftext|>; the tiny vocabulary has neither.
  if (g.vocab == kPublishedVocab) config.eos_token_ids = {151645, 151643};
  return config;
}

}  // namespace

absl::StatusOr<Config> FindConfig(absl::string_view name) {
  for (const Geometry& geometry : kGeometries) {
    if (absl::EqualsIgnoreCase(name, geometry.name)) return ConfigOf(geometry);
  }
  return absl::NotFoundError(
      absl::StrFormat("no built-in config \"%s\"; there are %s", name,
                      absl::StrJoin(ConfigNames(), ", ")));
}

std::vector<std::string> ConfigNames() {
  std::vector<std::string> names;
  for (const Geometry& geometry : kGeometries) names.push_back(geometry.name);
  return names;
}

uint64_t Fingerprint(const Config& config) {
  uint32_t eps_bits;
  std::memcpy(&eps_bits, &config.rms_norm_eps, sizeof(eps_bits));
  uint64_t hash = HashName("qwen3");
  for (const uint64_t field :
       {uint64_t{config.hidden_size}, uint64_t{config.intermediate_size},
        uint64_t{config.num_layers}, uint64_t{config.num_q_heads},
        uint64_t{config.num_kv_heads}, uint64_t{config.head_dim},
        uint64_t{config.vocab_size}, uint64_t{eps_bits},
        uint64_t{config.tie_word_embeddings}}) {
    hash = Mix64(hash + field);
  }
  return hash == 0 ? 1 : hash;
}

std::string Describe(const Config& config) {
  return absl::StrFormat(
      "qwen3 hidden=%d ff=%d layers=%d heads=%d/%dx%d vocab=%d %s",
      config.hidden_size, config.intermediate_size, config.num_layers,
      config.num_q_heads, config.num_kv_heads, config.head_dim,
      config.vocab_size, config.tie_word_embeddings ? "tied" : "untied");
}

}  // namespace mkvm::model
