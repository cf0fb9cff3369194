#include "tests/parity/hf_qwen3.h"

#include <algorithm>
#include <cmath>

#include "isa/f24.h"

namespace mkvm {

namespace {

constexpr uint64_t kMaxPositions = 1024;

}  // namespace

std::vector<float> RopeTable(const model::Config& config,
                             Frequencies frequencies, uint64_t positions) {
  const uint32_t half = config.head_dim / 2;
  std::vector<float> table(positions * config.head_dim);
  for (uint32_t i = 0; i < half; ++i) {
    double frequency = std::pow(config.rope_theta, -2.0 * i / config.head_dim);
    if (frequencies == Frequencies::kBf16) {
      frequency = isa::FloatOfBf16Bits(
          isa::Bf16BitsOfFloat(static_cast<float>(frequency)));
    }
    for (uint64_t p = 0; p < positions; ++p) {
      float* row = table.data() + p * config.head_dim;
      row[i] = static_cast<float>(std::cos(p * frequency));
      row[i + half] = static_cast<float>(std::sin(p * frequency));
    }
  }
  return table;
}

HfQwen3::HfQwen3(model::Weights& weights, Precision precision,
                 Frequencies frequencies)
    : weights_(weights),
      c_(weights.config()),
      precision_(precision),
      rope_(RopeTable(c_, frequencies, kMaxPositions)) {
  Reset();
}

void HfQwen3::Reset() {
  position_ = 0;
  keys_.assign(c_.num_layers * c_.num_kv_heads, {});
  values_ = keys_;
}

float HfQwen3::Store(float value) const {
  if (precision_ == Precision::kFloat32) return value;
  return isa::FloatOfBf16Bits(isa::Bf16BitsOfFloat(value));
}

const HfQwen3::Vector& HfQwen3::Get(const std::string& name) {
  Vector& out = cache_[name];
  if (!out.empty()) return out;
  const model::Tensor tensor = weights_.Get(name).value();
  size_t count = 1;
  for (uint64_t dim : tensor.shape) count *= dim;
  out.resize(count);
  for (size_t i = 0; i < count; ++i) {
    out[i] = tensor.type == model::TensorType::kF32
                 ? static_cast<const float*>(tensor.data)[i]
                 : isa::FloatOfBf16Bits(
                       static_cast<const uint16_t*>(tensor.data)[i]);
  }
  return out;
}

HfQwen3::Vector HfQwen3::Linear(const std::string& name, const Vector& x) {
  const Vector& w = Get(name);
  Vector y(w.size() / x.size());
  for (size_t r = 0; r < y.size(); ++r) {
    const float* row = w.data() + r * x.size();
    float sum = 0;
    for (size_t k = 0; k < x.size(); ++k) sum += row[k] * x[k];
    y[r] = Store(sum);
  }
  return y;
}

HfQwen3::Vector HfQwen3::Norm(const Vector& x, const Vector& g) const {
  float sum = 0;
  for (float v : x) sum += v * v;
  const float scale = 1 / std::sqrt(sum / x.size() + c_.rms_norm_eps);
  Vector y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = Store(g[i] * Store(x[i] * scale));
  return y;
}

HfQwen3::Vector HfQwen3::Rotate(const Vector& head) const {
  const uint32_t half = c_.head_dim / 2;
  Vector y(c_.head_dim);
  const float* row = rope_.data() + position_ * c_.head_dim;
  for (uint32_t i = 0; i < half; ++i) {
    const float cosine = Store(row[i]);
    const float sine = Store(row[i + half]);
    y[i] = Store(Store(head[i] * cosine) + Store(-head[i + half] * sine));
    y[i + half] = Store(Store(head[i + half] * cosine) + Store(head[i] * sine));
  }
  return y;
}

HfQwen3::Vector HfQwen3::Head(const Vector& x, uint32_t head,
                              const std::string& norm) {
  const auto begin = x.begin() + head * c_.head_dim;
  return Rotate(Norm(Vector(begin, begin + c_.head_dim), Get(norm)));
}

HfQwen3::Vector HfQwen3::AttendHead(const Vector& query,
                                    const std::vector<Vector>& keys,
                                    const std::vector<Vector>& values) const {
  const float scaling = 1 / std::sqrt(static_cast<float>(query.size()));
  Vector scores(keys.size());
  for (size_t p = 0; p < keys.size(); ++p) {
    float score = 0;
    for (size_t i = 0; i < query.size(); ++i) score += query[i] * keys[p][i];
    scores[p] = Store(Store(score) * scaling);
  }
  // The softmax is float32 in either precision, its result is stored.
  const float top = *std::max_element(scores.begin(), scores.end());
  float total = 0;
  for (float& score : scores) total += score = std::exp(score - top);
  Vector y(query.size(), 0.0f);
  for (size_t p = 0; p < keys.size(); ++p) {
    const float weight = Store(scores[p] / total);
    for (size_t i = 0; i < y.size(); ++i) y[i] += weight * values[p][i];
  }
  for (float& v : y) v = Store(v);
  return y;
}

HfQwen3::Vector HfQwen3::Attention(uint32_t layer, const Vector& x) {
  const std::string a = "model.layers." + std::to_string(layer) + ".self_attn.";
  const Vector q = Linear(a + "q_proj.weight", x);
  const Vector k = Linear(a + "k_proj.weight", x);
  const Vector v = Linear(a + "v_proj.weight", x);
  for (uint32_t h = 0; h < c_.num_kv_heads; ++h) {
    const size_t at = size_t{layer} * c_.num_kv_heads + h;
    keys_[at].push_back(Head(k, h, a + "k_norm.weight"));
    const auto begin = v.begin() + h * c_.head_dim;
    values_[at].emplace_back(begin, begin + c_.head_dim);
  }
  Vector out;
  for (uint32_t h = 0; h < c_.num_q_heads; ++h) {
    const uint32_t kv = h / (c_.num_q_heads / c_.num_kv_heads);
    const size_t at = size_t{layer} * c_.num_kv_heads + kv;
    const Vector y =
        AttendHead(Head(q, h, a + "q_norm.weight"), keys_[at], values_[at]);
    out.insert(out.end(), y.begin(), y.end());
  }
  return Linear(a + "o_proj.weight", out);
}

HfQwen3::Vector HfQwen3::Mlp(const std::string& layer, const Vector& x) {
  Vector h = Linear(layer + "mlp.gate_proj.weight", x);
  const Vector up = Linear(layer + "mlp.up_proj.weight", x);
  for (size_t i = 0; i < h.size(); ++i) {
    h[i] = Store(Store(h[i] / (1 + std::exp(-h[i]))) * up[i]);
  }
  return Linear(layer + "mlp.down_proj.weight", h);
}

void HfQwen3::AddTo(Vector& x, const Vector& y) const {
  for (size_t i = 0; i < x.size(); ++i) x[i] = Store(x[i] + y[i]);
}

std::vector<float> HfQwen3::Step(int32_t token) {
  const Vector& table = Get("model.embed_tokens.weight");
  const auto row = table.begin() + int64_t{token} * c_.hidden_size;
  Vector x(row, row + c_.hidden_size);
  for (uint32_t layer = 0; layer < c_.num_layers; ++layer) {
    const std::string l = "model.layers." + std::to_string(layer) + ".";
    AddTo(x, Attention(layer, Norm(x, Get(l + "input_layernorm.weight"))));
    AddTo(x, Mlp(l, Norm(x, Get(l + "post_attention_layernorm.weight"))));
  }
  ++position_;
  return Linear(
      c_.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight",
      Norm(x, Get("model.norm.weight")));
}

}  // namespace mkvm
