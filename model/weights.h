// Where a model's tensors come from: a HuggingFace snapshot or a seed.
#ifndef MKVM_MODEL_WEIGHTS_H_
#define MKVM_MODEL_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/config.h"

namespace mkvm::model {

enum class TensorType : uint8_t { kBf16, kF32 };

struct Tensor {
  TensorType type = TensorType::kBf16;
  std::vector<uint64_t> shape;
  const void* data = nullptr;  // row-major, alive as long as its Weights
};

// The tensors of one model under their canonical HuggingFace names
// ("model.embed_tokens.weight", "model.layers.3.mlp.up_proj.weight", ...,
// "lm_head.weight" only when not tied).
class Weights {
 public:
  virtual ~Weights() = default;
  virtual const Config& config() const = 0;
  // Canonical names, in the order of the model.
  virtual const std::vector<std::string>& names() const = 0;
  // NotFound if it is none of names(). Synthetic weights are made on demand
  // and stay alive with the source.
  virtual absl::StatusOr<Tensor> Get(absl::string_view name) = 0;
  virtual uint64_t total_bytes() const = 0;
  virtual std::string description() const = 0;
};

// Canonical name and shape of every tensor that the geometry needs.
struct TensorSpec {
  std::string name;
  std::vector<uint64_t> shape;
};
std::vector<TensorSpec> RequiredTensors(const Config& config);

// A snapshot folder: config.json and model.safetensors, or shards with
// model.safetensors.index.json. Memory-mapped. Checks that every tensor that
// the geometry needs is there with its shape and dtype, and that no other is.
absl::StatusOr<std::unique_ptr<Weights>> OpenSnapshot(
    absl::string_view directory);

// Deterministic weights: the same seed and geometry give the same bits on any
// machine. Scaled so that the residual stream neither dies nor explodes, norm
// weights not all one.
std::unique_ptr<Weights> MakeSynthetic(const Config& config, uint64_t seed);

// f32 [positions, head_dim]: row p holds cos(p * w_i), i < head_dim/2, then
// sin(p * w_i), w_i = theta^(-2i/head_dim), computed in double.
std::vector<float> RopeTable(const Config& config, uint64_t positions);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_WEIGHTS_H_
