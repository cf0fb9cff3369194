// The example programs, from the command line: text and binary forms, the
// verifier, info, and runs from .npy to .npy against formulas written here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "absl/strings/str_cat.h"
#include "cli/npy.h"
#include "isa/f24.h"
#include "nlohmann/json.hpp"
#include "tests/cli/subprocess.h"
#include "vm/gpu_machine.h"

namespace mkvm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kExamples[] = {"argmax", "attention_head", "mlp",
                                     "mlp_fused"};

std::string ExamplePath(const std::string& name) {
  return absl::StrCat(MKVM_SOURCE_DIR, "/programs/", name, ".mkasm");
}

float Bf16(float value) {
  return isa::FloatOfBf16Bits(isa::Bf16BitsOfFloat(value));
}

// Inputs and outputs of one run.
class Bench {
 public:
  // Random normal values; weights are rounded to bf16 here already, so that
  // the oracle sees what the program does.
  std::vector<float> Input(const std::string& name,
                           const std::vector<uint64_t>& shape) {
    uint64_t count = 1;
    for (uint64_t size : shape) count *= size;
    std::vector<float> values(count);
    for (float& v : values) v = Bf16(normal_(random_));
    Bind(name, shape, values);
    return values;
  }

  void Bind(const std::string& name, const std::vector<uint64_t>& shape,
            const std::vector<float>& values) {
    const std::string path = absl::StrCat(TestFolder(), "/", name, ".npy");
    WriteText(path, cli::ToNpy(isa::DType::kF32, shape,
                               {reinterpret_cast<const char*>(values.data()),
                                values.size() * sizeof(float)}));
    args_.insert(args_.end(), {"--bind", absl::StrCat(name, "=", path)});
  }

  // Runs and returns the named buffers.
  std::vector<cli::NpyArray> Run(const std::string& program,
                                 const std::vector<std::string>& outputs,
                                 const std::vector<std::string>& more = {}) {
    std::vector<std::string> args = {"run", program, "--device",
                                     MKVM_TEST_DEVICE};
    args.insert(args.end(), args_.begin(), args_.end());
    args.insert(args.end(), more.begin(), more.end());
    for (const std::string& name : outputs) {
      args.insert(args.end(), {"--dump", absl::StrCat(name, "=", TestFolder(),
                                                      "/out.", name, ".npy")});
    }
    const Outcome outcome = RunMkvm(args);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    std::vector<cli::NpyArray> arrays;
    for (const std::string& name : outputs) {
      auto array =
          cli::ReadNpyFile(absl::StrCat(TestFolder(), "/out.", name, ".npy"));
      EXPECT_TRUE(array.ok()) << array.status();
      arrays.push_back(*std::move(array));
    }
    return arrays;
  }

 private:
  std::mt19937 random_{5};
  std::normal_distribution<float> normal_;
  std::vector<std::string> args_;
};

std::vector<float> Floats(const cli::NpyArray& array) {
  EXPECT_EQ(array.dtype, isa::DType::kF32);
  std::vector<float> values(array.data.size() / sizeof(float));
  std::memcpy(values.data(), array.data.data(), array.data.size());
  return values;
}

void ExpectNear(const std::vector<float>& values,
                const std::vector<double>& wanted, double tolerance) {
  ASSERT_EQ(values.size(), wanted.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(values[i], wanted[i], tolerance) << i;
  }
}

std::vector<double> Multiply(const std::vector<float>& w,
                             const std::vector<double>& x) {
  std::vector<double> y(w.size() / x.size(), 0.0);
  for (size_t r = 0; r < y.size(); ++r) {
    for (size_t k = 0; k < x.size(); ++k) y[r] += w[r * x.size() + k] * x[k];
  }
  return y;
}

std::vector<double> Norm(const std::vector<double>& x,
                         const std::vector<float>& g) {
  double sum = 0;
  for (double v : x) sum += v * v;
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    y[i] = x[i] * g[i] / std::sqrt(sum / x.size() + 1e-6);
  }
  return y;
}

std::vector<double> Wide(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

TEST(Examples, BothFormsRoundTrip) {
  for (const char* name : kExamples) {
    const std::string bin = absl::StrCat(TestFolder(), "/", name, ".bin");
    const Outcome assembled = RunMkvm({"asm", ExamplePath(name), "-o", bin});
    ASSERT_EQ(assembled.exit_code, 0) << assembled.err;
    const Outcome text = RunMkvm({"dis", bin});
    ASSERT_EQ(text.exit_code, 0) << text.err;
    const std::string mkasm = absl::StrCat(TestFolder(), "/", name, ".mkasm");
    WriteText(mkasm, text.out);
    const std::string again = absl::StrCat(TestFolder(), "/again.bin");
    ASSERT_EQ(RunMkvm({"asm", mkasm, "-o", again}).exit_code, 0);
    EXPECT_EQ(ReadText(again), ReadText(bin)) << name;
    // dis takes either form, and - is stdin and stdout.
    EXPECT_EQ(RunMkvm({"dis", mkasm}).out, text.out);
    EXPECT_EQ(RunMkvm({"asm", "-", "-o", "-"}, {}, mkasm).out, ReadText(bin));
    EXPECT_EQ(RunMkvm({"dis", "-"}, {}, bin).out, text.out);
  }
}

TEST(Examples, Verify) {
  for (const char* name : kExamples) {
    const Outcome outcome = RunMkvm({"verify", ExamplePath(name)});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
    EXPECT_THAT(outcome.out, StartsWith("OK: "));
    EXPECT_THAT(outcome.out, HasSubstr(" workers, "));
  }
}

TEST(Examples, Info) {
  const Outcome text = RunMkvm({"info", ExamplePath("argmax")});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("gemv"));
  const Outcome json =
      RunMkvm({"info", ExamplePath("argmax"), "--json", "--target", "h200"});
  EXPECT_EQ(json.exit_code, 0) << json.err;
  const auto parsed = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_FALSE(parsed.is_discarded()) << json.out;
  EXPECT_EQ(parsed["workers"], 4);
}

// On the device that this binary is built for.
class ExampleRuns : public testing::Test {
 protected:
  void SetUp() override {
    if (absl::string_view(MKVM_TEST_DEVICE) == "cpu") return;
    const auto gpu = vm::QueryGpu(0);
    if (!gpu.ok()) GTEST_SKIP() << gpu.status().message();
  }
};

TEST_F(ExampleRuns, Argmax) {
  Bench bench;
  const std::vector<float> x = bench.Input("x", {64});
  const std::vector<float> w = bench.Input("w", {256, 64});
  const auto out = bench.Run(ExamplePath("argmax"), {"best", "scores"});
  const std::vector<double> wanted = Multiply(w, Wide(x));
  ExpectNear(Floats(out[1]), wanted, 1e-3);
  ASSERT_EQ(out[0].dtype, isa::DType::kRanked);
  uint64_t best;
  ASSERT_EQ(out[0].data.size(), sizeof(best));
  std::memcpy(&best, out[0].data.data(), sizeof(best));
  const auto top = std::max_element(wanted.begin(), wanted.end());
  EXPECT_EQ(isa::IndexOfRanked(best), top - wanted.begin());
  EXPECT_NEAR(isa::ScoreOfRanked(best), *top, 1e-3);
}

TEST_F(ExampleRuns, Mlp) {
  for (const char* name : {"mlp", "mlp_fused"}) {
    for (const char* transport : {"tagged", "counters"}) {
      Bench bench;
      const std::vector<float> x = bench.Input("x", {64});
      const std::vector<float> norm = bench.Input("norm", {64});
      const std::vector<float> gate = bench.Input("gate", {128, 64});
      const std::vector<float> up = bench.Input("up", {128, 64});
      const std::vector<float> down = bench.Input("down", {64, 128});
      const auto out =
          bench.Run(ExamplePath(name), {"y"}, {"--transport", transport});
      const std::vector<double> n = Norm(Wide(x), norm);
      std::vector<double> h = Multiply(gate, n);
      const std::vector<double> u = Multiply(up, n);
      for (size_t i = 0; i < h.size(); ++i)
        h[i] *= u[i] / (1 + std::exp(-h[i]));
      std::vector<double> y = Multiply(down, h);
      double scale = 0;
      for (size_t i = 0; i < y.size(); ++i) {
        y[i] += x[i];
        scale = std::max(scale, std::abs(y[i]));
      }
      ExpectNear(Floats(out[0]), y, 1e-4 * scale);
    }
  }
}

// One head of q or k: norm, then rotation by `position`.
std::vector<double> Rotated(const std::vector<float>& x, size_t begin,
                            const std::vector<float>& g,
                            const std::vector<float>& rope, size_t position) {
  constexpr size_t kHalf = 32;
  const std::vector<double> n =
      Norm({x.begin() + begin, x.begin() + begin + 2 * kHalf}, g);
  std::vector<double> y(2 * kHalf);
  for (size_t i = 0; i < kHalf; ++i) {
    const double cosine = rope[position * 64 + i];
    const double sine = rope[position * 64 + kHalf + i];
    y[i] = n[i] * cosine - n[i + kHalf] * sine;
    y[i + kHalf] = n[i + kHalf] * cosine + n[i] * sine;
  }
  return y;
}

// Where position p lies in a cache of two splits with blocks of 8.
size_t CacheRow(size_t p) {
  const size_t block = p / 8;
  return block % 2 * 32 + block / 2 * 8 + p % 8;
}

TEST_F(ExampleRuns, AttentionHead) {
  constexpr size_t kPosition = 20;  // whole and partial blocks in both splits
  Bench bench;
  const std::vector<float> q = bench.Input("q", {128});
  const std::vector<float> k = bench.Input("k", {64});
  const std::vector<float> v = bench.Input("v", {64});
  const std::vector<float> q_norm = bench.Input("q_norm", {64});
  const std::vector<float> k_norm = bench.Input("k_norm", {64});
  // What earlier passes would have left there, and rubbish after it.
  const std::vector<float> keys = bench.Input("k_cache", {2, 32, 64});
  const std::vector<float> values = bench.Input("v_cache", {2, 32, 64});
  std::vector<float> rope(64 * 64);
  for (size_t p = 0; p < 64; ++p) {
    for (size_t i = 0; i < 32; ++i) {
      const double angle = p * std::pow(1e4, -2.0 * i / 64);
      rope[p * 64 + i] = static_cast<float>(std::cos(angle));
      rope[p * 64 + 32 + i] = static_cast<float>(std::sin(angle));
    }
  }
  bench.Bind("rope", {64, 64}, rope);
  const auto out = bench.Run(ExamplePath("attention_head"), {"y", "k_cache"},
                             {"--first_position", absl::StrCat(kPosition)});

  const std::vector<double> key = Rotated(k, 0, k_norm, rope, kPosition);
  std::vector<double> wanted;
  for (size_t head = 0; head < 2; ++head) {
    const auto query = Rotated(q, head * 64, q_norm, rope, kPosition);
    std::vector<double> y(64, 0.0);
    double total = 0;
    for (size_t p = 0; p <= kPosition; ++p) {
      const size_t row = CacheRow(p) * 64;
      double score = 0;
      for (size_t i = 0; i < 64; ++i) {
        score += query[i] * (p == kPosition ? key[i] : keys[row + i]);
      }
      const double weight = std::exp(score / 8);
      total += weight;
      for (size_t i = 0; i < 64; ++i) {
        y[i] += weight * (p == kPosition ? v[i] : values[row + i]);
      }
    }
    for (double value : y) wanted.push_back(value / total);
  }
  ExpectNear(Floats(out[0]), wanted, 0.01);
  // The new key is in its row, and no other row has changed.
  const std::vector<float> after = Floats(out[1]);
  for (size_t i = 0; i < after.size(); ++i) {
    if (i / 64 == CacheRow(kPosition)) {
      EXPECT_NEAR(after[i], key[i % 64], 0.02);
    } else {
      EXPECT_EQ(after[i], keys[i]);
    }
  }
}

TEST(Examples, IsaDocumentsEveryOpcode) {
  const Outcome all = RunMkvm({"isa"});
  EXPECT_EQ(all.exit_code, 0);
  const Outcome one = RunMkvm({"isa", "gemv"});
  EXPECT_EQ(one.exit_code, 0);
  EXPECT_THAT(all.out, HasSubstr(one.out));
  EXPECT_THAT(one.out, HasSubstr("row_begin"));
}

}  // namespace
}  // namespace mkvm
