// Weights from a seed.
//
// Element i of a tensor is a function of (seed, tensor name, i) alone, so that
// any piece can be made by any thread, on any machine, with the same bits: an
// integer hash gives 16 bits, which are scaled by float operations that round
// at most once, and then rounded to bf16 by integer arithmetic.
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/hash.h"
#include "model/memory.h"
#include "model/parallel.h"
#include "model/weights.h"

namespace mkvm::model {
namespace {

constexpr uint64_t kBlock = 8192;  // elements that share a pair of keys

// Two 16-bit values from a 32-bit counter. `keys` enter at two places: with
// one, two blocks could be shifted copies of each other.
inline uint32_t Hash32(uint32_t counter, uint64_t keys) {
  uint32_t x = counter + static_cast<uint32_t>(keys);
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x ^= static_cast<uint32_t>(keys >> 32);
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// Uniform in (mean - spread, mean + spread), symmetric about the mean.
struct Distribution {
  float mean;
  float spread;
};

inline uint16_t Bf16(uint32_t bits16, Distribution d) {
  // 2 * bits - 65535 is odd and exact in a float. With mean 0 only the product
  // rounds; the spread of the others is short enough for both to be exact: so a
  // fused multiply-add changes nothing.
  const int32_t odd = static_cast<int32_t>(2 * bits16) - 65535;
  const float value = d.mean + static_cast<float>(odd) * d.spread;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

void Fill(uint64_t seed_of_tensor, Distribution d, uint64_t begin, uint64_t end,
          uint16_t* out) {
  d.spread *= 1.0f / 65536;  // exact
  for (uint64_t block = begin / kBlock; block * kBlock < end; ++block) {
    const uint64_t keys = Mix64(seed_of_tensor + block);
    const uint64_t first = block * kBlock;
    const uint32_t count = static_cast<uint32_t>(std::min(kBlock, end - first));
    uint16_t* at = out + first;
    // The low and high halves of a hash go to elements half a block apart, so
    // that the loop vectorises without shuffles.
    constexpr uint32_t kHalf = kBlock / 2;
    const uint32_t both = count > kHalf ? count - kHalf : 0;
    for (uint32_t i = 0; i < both; ++i) {
      const uint32_t hash = Hash32(i, keys);
      at[i] = Bf16(hash & 0xffffu, d);
      at[i + kHalf] = Bf16(hash >> 16, d);
    }
    for (uint32_t i = both; i < std::min(count, kHalf); ++i) {
      at[i] = Bf16(Hash32(i, keys) & 0xffffu, d);
    }
  }
}

// Zero pages from the kernel, huge where it likes: freeing and first touch are
// what making large tensors would otherwise spend its time on.
class Pages {
 public:
  Pages() = default;
  Pages(Pages&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Pages() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  // False where there is no such memory.
  bool Allocate(uint64_t bytes) {
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return false;
    data_ = data;
    bytes_ = bytes;
    madvise(data, bytes, MADV_HUGEPAGE);  // a hint; failing is no error
    return true;
  }
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  uint64_t bytes_ = 0;
};

// Matrices keep the size of what they multiply: a uniform distribution of
// spread s has variance s^2 / 3, so variance 1 / fan_in. The embedding is as
// small, which the first norm undoes: were it larger, a tied lm_head would
// favour the token just read and greedy decoding would repeat it for ever.
// Norms around 1; queries more, so that attention prefers some positions.
Distribution DistributionOf(const TensorSpec& spec) {
  if (spec.shape.size() == 1) {
    const bool query = absl::StrContains(spec.name, "q_norm");
    return {query ? 2.0f : 1.0f, 0.3125f};
  }
  // Correctly rounded by IEEE 754, hence the same everywhere.
  const double spread = std::sqrt(3.0 / static_cast<double>(spec.shape[1]));
  return {0.0f, static_cast<float>(spread)};
}

class Synthetic : public Weights {
 public:
  Synthetic(const Config& config, uint64_t seed)
      : config_(config), seed_(seed), specs_(RequiredTensors(config)) {
    for (size_t i = 0; i < specs_.size(); ++i) {
      names_.push_back(specs_[i].name);
      index_[specs_[i].name] = i;
      total_bytes_ += NumElements(specs_[i]) * sizeof(uint16_t);
    }
    made_.resize(specs_.size());
  }

  const Config& config() const override { return config_; }
  const std::vector<std::string>& names() const override { return names_; }
  uint64_t total_bytes() const override { return total_bytes_; }
  std::string description() const override {
    return absl::StrFormat("synthetic weights of seed %d, %s", seed_,
                           Describe(config_));
  }

  absl::StatusOr<Tensor> Get(absl::string_view name) override {
    const auto it = index_.find(name);
    if (it == index_.end()) {
      return absl::NotFoundError(
          absl::StrFormat("no tensor \"%s\" in %s", name, description()));
    }
    const TensorSpec& spec = specs_[it->second];
    const std::lock_guard<std::mutex> lock(mutex_);
    Pages& pages = made_[it->second];
    if (pages.data() == nullptr) {
      if (absl::Status s = Make(spec, pages); !s.ok()) return s;
    }
    return Tensor{TensorType::kBf16, spec.shape, pages.data()};
  }

 private:
  static uint64_t NumElements(const TensorSpec& spec) {
    uint64_t count = 1;
    for (const uint64_t size : spec.shape) count *= size;
    return count;
  }

  absl::Status Make(const TensorSpec& spec, Pages& pages) const {
    const uint64_t count = NumElements(spec);
    const uint64_t bytes = count * sizeof(uint16_t);
    constexpr uint64_t kWorthAskingBytes = uint64_t{16} << 20;
    const std::string what = absl::StrCat("synthetic tensor ", spec.name);
    constexpr char kMend[] = "take a smaller model, or free some";
    const uint64_t available =
        bytes < kWorthAskingBytes ? UINT64_MAX : AvailableMemoryBytes();
    if (absl::Status s = CheckMemory(bytes, available, what, kMend); !s.ok()) {
      return s;
    }
    if (!pages.Allocate(bytes)) {
      return CheckMemory(bytes, 0, what, kMend);
    }
    auto* out = static_cast<uint16_t*>(pages.data());
    const uint64_t seed = Mix64(seed_) ^ HashName(spec.name);
    const Distribution distribution = DistributionOf(spec);
    constexpr uint64_t kGrain = 32 * kBlock;
    ParallelFor(count, kGrain, [&](uint64_t begin, uint64_t end) {
      Fill(seed, distribution, begin, end, out);
    });
    return absl::OkStatus();
  }

  const Config config_;
  const uint64_t seed_;
  const std::vector<TensorSpec> specs_;
  std::vector<std::string> names_;
  absl::flat_hash_map<std::string, size_t> index_;
  uint64_t total_bytes_ = 0;
  std::mutex mutex_;
  std::vector<Pages> made_;  // empty until asked for; beside specs_
};

}  // namespace

std::unique_ptr<Weights> MakeSynthetic(const Config& config, uint64_t seed) {
  return std::make_unique<Synthetic>(config, seed);
}

}  // namespace mkvm::model
