// The geometry of a dense Qwen3 model, from its config.json.
#ifndef MKVM_MODEL_CONFIG_H_
#define MKVM_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {

struct Config {
  std::string name;  // for people: "qwen3-0.6b", a folder's name, ...
  uint32_t hidden_size = 0;
  uint32_t intermediate_size = 0;
  uint32_t num_layers = 0;
  uint32_t num_q_heads = 0;
  uint32_t num_kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t vocab_size = 0;
  uint32_t max_positions = 0;
  double rope_theta = 10000.0;
  float rms_norm_eps = 1e-6f;
  bool tie_word_embeddings = false;
  std::vector<int32_t> eos_token_ids;  // config, then generation_config
};

// Both published forms (transformers 4 and 5). `name` is for messages. Errors:
// InvalidArgument naming the key, what it holds and what is supported.
absl::StatusOr<Config> ParseConfig(absl::string_view json,
                                   absl::string_view name);
// `directory`/config.json, and generation_config.json where present.
absl::StatusOr<Config> LoadConfig(absl::string_view directory);
// Built-in geometries: "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b",
// "qwen3-14b", "qwen3-32b", "qwen3-tiny" (2 layers, for machines without a
// GPU). NotFound lists them.
absl::StatusOr<Config> FindConfig(absl::string_view name);
std::vector<std::string> ConfigNames();

// Hash of everything that a program depends on; never 0. Not in it: what is
// bound or read at run time (rope_theta, eos ids, max_positions) and the name.
uint64_t Fingerprint(const Config& config);
// "qwen3 hidden=1024 ff=3072 layers=28 heads=16/8x128 vocab=151936 tied"
std::string Describe(const Config& config);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_CONFIG_H_
