// Spoils valid programs in every way that tests/isa/mutations.h knows. Each
// mutant must be refused by the verifier, or be shown harmless by two machines
// that know nothing of it: the checking CPU machine (which takes every wait as
// a counter wait, and computes) and the polling model (which leaves tagged
// waits to the data, and delays what it may).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "isa/f24.h"
#include "isa/verifier.h"
#include "scheduler/compile.h"
#include "tests/isa/mutations.h"
#include "tests/isa/polling_model.h"
#include "tests/isa/verifier_testing.h"
#include "vm/cpu_machine.h"

namespace mkvm::isa {
namespace {

#ifdef MKVM_SANITIZED
constexpr int kMutantsPerKindAndProgram = 2;
#else
constexpr int kMutantsPerKindAndProgram = 24;
#endif
constexpr int64_t kPasses = 4;  // two below kAlone's position
constexpr uint64_t kMachineSeeds = 3;
constexpr uint64_t kModelSeeds = 9;

// ---- the programs -----------------------------------------------------------

model::Config TinyConfig() {
  model::Config c;
  c.name = "mutants";
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_q_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 8;
  c.vocab_size = 64;
  c.max_positions = 16;
  c.rope_theta = 1e6;
  c.tie_word_embeddings = true;
  return c;
}

Program Compiled(scheduler::Target target, uint32_t workers, bool fuse,
                 bool logits = false, bool alone = true, uint32_t splits = 2) {
  target.workers = workers;
  target.max_kv_splits = splits;
  scheduler::CompileOptions options;
  options.fuse = fuse;
  options.logits = logits;
  options.kv_block = splits == 2 ? 2 : 1;  // all begin within the passes
  options.attend_alone = alone;
  absl::StatusOr<Program> program =
      scheduler::Compile(TinyConfig(), target, options);
  EXPECT_TRUE(program.ok()) << program.status();
  return program.ok() ? *std::move(program) : Program();
}

struct Base {
  std::string name;
  Program program;
};

std::vector<Base> Bases() {
  const scheduler::Target h200 = scheduler::FindTarget("h200").value();
  // The pipe with its data tagged and its lagged edge relaxed.
  const std::string tagged_pipe =
      Replace(Replace(Replace(kPipe, "wait(h)", "wait(h tagged) polled(a, b)"),
                      "signal(y)", "signal(y relaxed)"),
              "signal(h)", "signal(h relaxed)");
  return {
      {"decode", Parse(kDecode)},
      {"decode, counters only", WithCountersOnly(Parse(kDecode))},
      {"pipe", Parse(kPipe)},
      {"tagged pipe", Parse(tagged_pipe)},
      {"cache", Parse(kCache)},
      {"state", Parse(kState)},
      {"parts", Parse(kParts)},
      {"half", Parse(kHalf)},
      {"elements", Parse(kElements)},
      {"merge", Parse(kMerge)},
      {"alone", Parse(kAlone)},
      {"alone, counters only", WithCountersOnly(Parse(kAlone))},
      {"growing", Parse(kGrowing)},
      {"growing, counters only", WithCountersOnly(Parse(kGrowing))},
      {"lap", Parse(kLap)},
      {"overtaken", Parse(kOvertaken)},
      {"qwen3, h200, 8 workers", Compiled(h200, 8, true)},
      {"qwen3, h200, 16 workers, logits", Compiled(h200, 16, true, true)},
      {"qwen3, h200, 8 workers, unfused", Compiled(h200, 8, false)},
      {"qwen3, cpu, 8 workers", Compiled(scheduler::CpuTarget(8), 8, true)},
      {"qwen3, cpu, 5 workers, unfused",
       Compiled(scheduler::CpuTarget(5), 5, false)},
      {"qwen3, cpu, 8 workers, never alone",
       Compiled(scheduler::CpuTarget(8), 8, true, false, false)},
      {"qwen3, h200, 8 workers, 4 splits",
       Compiled(h200, 8, true, false, true, 4)},
  };
}

// ---- the checking machine as a judge ----------------------------------------

// What a run shows to the outside.
struct Observed {
  absl::Status status;
  std::vector<int32_t> tokens;
  std::map<std::string, std::string> buffers;  // bytes
};

// Something for every weight and input, the same for the same name.
std::string Fill(const Buffer& buffer) {
  std::string bytes(NumElements(buffer) * SizeOf(buffer.dtype), '\0');
  Random random(std::hash<std::string>()(buffer.name));
  const bool is_eos = buffer.name == "eos";
  const bool is_run = buffer.name == "run";
  for (uint64_t i = 0; i < NumElements(buffer); ++i) {
    char* at = bytes.data() + i * SizeOf(buffer.dtype);
    const float value =
        (static_cast<float>(random.Below(2001)) - 1000.0f) / 1000.0f;
    switch (buffer.dtype) {
      case DType::kF24:
      case DType::kF32: {
        const float f = RoundToF24(value);
        std::memcpy(at, &f, sizeof(f));
        break;
      }
      case DType::kBf16: {
        const uint16_t b = Bf16BitsOfFloat(value);
        std::memcpy(at, &b, sizeof(b));
        break;
      }
      case DType::kI32: {
        // No end of text; one prompt token, the end far away.
        const int32_t n = is_eos ? -1 : is_run ? (i == 0 ? 1 : 1000) : 3;
        std::memcpy(at, &n, sizeof(n));
        break;
      }
      case DType::kRanked: {
        const uint64_t r = PackRanked(value, static_cast<uint32_t>(i), 0);
        std::memcpy(at, &r, sizeof(r));
        break;
      }
    }
  }
  return bytes;
}

Observed RunOnce(const Program& program, uint64_t seed) {
  Observed seen;
  absl::StatusOr<std::unique_ptr<vm::Machine>> machine = vm::CreateCpuMachine(
      program, {.check_races = true, .seed = seed, .alias_weights = false});
  seen.status = machine.status();
  if (!machine.ok()) return seen;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.kind != BufferKind::kWeight &&
        buffer.kind != BufferKind::kInput) {
      continue;
    }
    const std::string bytes = Fill(buffer);
    seen.status = (*machine)->Bind(buffer.name,
                                   {buffer.dtype, buffer.shape, bytes.data()});
    if (!seen.status.ok()) return seen;
  }
  vm::RunOptions options;
  options.max_passes = kPasses;
  options.on_token = [&](int64_t, int32_t token) {
    seen.tokens.push_back(token);
  };
  const absl::StatusOr<vm::RunResult> result = (*machine)->Run(options);
  seen.status = result.status();
  if (!result.ok()) return seen;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.kind != BufferKind::kActivation &&
        buffer.kind != BufferKind::kState) {
      continue;
    }
    std::string& bytes = seen.buffers[buffer.name];
    bytes.resize(NumElements(buffer) * SizeOf(buffer.dtype));
    seen.status = (*machine)->Read(buffer.name,
                                   absl::MakeSpan(bytes.data(), bytes.size()));
    if (!seen.status.ok()) return seen;
  }
  return seen;
}

// An op that refuses its data, as it does in every order.
bool IsErrorOfOp(const absl::Status& status) {
  return absl::StrContains(std::string(status.message()), "NaN") ||
         absl::StrContains(std::string(status.message()), "token");
}

// Runs with seeds `first_seed`, first_seed + 1, ... Mutants are often alike, so
// each gets seeds of its own.
std::string JudgeByMachine(const Program& program, Promise promise,
                           const Observed& original, uint64_t first_seed,
                           uint64_t seeds) {
  Observed first;
  for (uint64_t n = 0; n < seeds; ++n) {
    const Observed seen = RunOnce(program, first_seed + n);
    if (promise == Promise::kSameResult) {
      if (!seen.status.ok()) return std::string(seen.status.message());
      if (seen.tokens != original.tokens || seen.buffers != original.buffers) {
        return "another result than the original's";
      }
      continue;
    }
    if (!seen.status.ok() && !IsErrorOfOp(seen.status)) {
      return std::string(seen.status.message());
    }
    if (n == 0) first = seen;
    if (seen.tokens != first.tokens || seen.buffers != first.buffers) {
      return "another result in another order";
    }
  }
  return "";
}

std::string JudgeByModel(const Program& program, uint64_t first_seed,
                         uint64_t seeds) {
  PollingModel model(program, kPasses);
  std::vector<uint64_t> first, trace;
  for (uint64_t n = 0; n < seeds; ++n) {
    std::string fault = model.Run(first_seed + n, trace);
    if (!fault.empty()) return fault;
    if (n == 0) first = trace;
    if (trace != first) return "other values read in another order";
  }
  return "";
}

// ---- the suite --------------------------------------------------------------

struct Tally {
  int mutants = 0;
  int rejected = 0;
  int malformed = 0;  // of those: no machine would even load it
  int confirmed = 0;  // of those: seen to go wrong by a judge
  int harmless = 0;
  int survivors = 0;
};

class Suite {
 public:
  Suite() : mutations_(AllMutations()), tallies_(mutations_.size()) {}

  // False when there was nothing to change.
  bool Try(const Base& base, const Observed& original, size_t kind,
           uint64_t seed) {
    const Mutation& mutation = mutations_[kind];
    Program mutant = base.program;
    Random random(seed);
    if (!mutation.apply(mutant, random)) return false;
    Tally& tally = tallies_[kind];
    ++tally.mutants;
    const std::vector<Diagnostic> errors = Verify(mutant);
    if (!errors.empty()) {
      ++tally.rejected;
      // How much of what is refused is really wrong? For information: the
      // judges see only what their few orders bring to light.
      if (!vm::CreateCpuMachine(mutant).ok()) {
        ++tally.malformed;
      } else if (!JudgeByModel(mutant, 9 * seed, 4).empty() ||
                 !JudgeByMachine(mutant, mutation.promise, original, seed, 1)
                      .empty()) {
        ++tally.confirmed;
      }
      return true;
    }
    std::string verdict = JudgeByMachine(mutant, mutation.promise, original,
                                         kMachineSeeds * seed, kMachineSeeds);
    if (verdict.empty())
      verdict = JudgeByModel(mutant, kModelSeeds * seed, kModelSeeds);
    if (verdict.empty()) {
      ++tally.harmless;
      return true;
    }
    ++tally.survivors;
    ADD_FAILURE() << "survivor: " << mutation.name << ", seed " << seed
                  << ", of " << base.name << ": " << verdict;
    return true;
  }

  // The table, and its sums.
  Tally Print() const {
    std::printf("%-36s %8s %8s %10s %10s %9s %10s\n", "mutation", "mutants",
                "rejected", "(malformed", "confirmed)", "harmless",
                "survivors");
    Tally sum;
    for (size_t k = 0; k <= tallies_.size(); ++k) {
      const Tally& t = k < tallies_.size() ? tallies_[k] : sum;
      const std::string name =
          k < tallies_.size() ? std::string(mutations_[k].name) : "all";
      std::printf("%-36s %8d %8d %10d %10d %9d %10d\n", name.c_str(), t.mutants,
                  t.rejected, t.malformed, t.confirmed, t.harmless,
                  t.survivors);
      if (k == tallies_.size()) break;
      sum.mutants += t.mutants;
      sum.rejected += t.rejected;
      sum.malformed += t.malformed;
      sum.confirmed += t.confirmed;
      sum.harmless += t.harmless;
      sum.survivors += t.survivors;
    }
    return sum;
  }

  const std::vector<Mutation>& mutations() const { return mutations_; }
  const std::vector<Tally>& tallies() const { return tallies_; }

 private:
  const std::vector<Mutation> mutations_;
  std::vector<Tally> tallies_;
};

TEST(VerifierMutationTest, OriginalsAreProvenAndHarmless) {
  for (const Base& base : Bases()) {
    SCOPED_TRACE(base.name);
    EXPECT_EQ(Errors(base.program), "");
    EXPECT_EQ(Errors(WithCountersOnly(base.program)), "");
    const Observed original = RunOnce(base.program, 1);
    ASSERT_TRUE(original.status.ok()) << original.status;
    EXPECT_EQ(
        JudgeByMachine(base.program, Promise::kSameResult, original, 1, 9), "");
    EXPECT_EQ(JudgeByModel(base.program, 1, 90), "");
    EXPECT_EQ(JudgeByModel(WithCountersOnly(base.program), 1, 18), "");
  }
}

TEST(VerifierMutationTest, EveryMutantIsRejectedOrHarmless) {
  const auto start = std::chrono::steady_clock::now();
  Suite suite;
  uint64_t seed = 0;
  for (const Base& base : Bases()) {
    const Observed original = RunOnce(base.program, 1);
    ASSERT_TRUE(original.status.ok()) << base.name << ": " << original.status;
    for (size_t kind = 0; kind < suite.mutations().size(); ++kind) {
      // Some seeds find nothing to change.
      int mutants = 0;
      for (int n = 0; mutants < kMutantsPerKindAndProgram &&
                      n < 10 * kMutantsPerKindAndProgram;
           ++n) {
        if (suite.Try(base, original, kind, ++seed)) ++mutants;
      }
    }
  }
  const Tally sum = suite.Print();
  const std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  std::printf("%d mutants in %.1f s\n", sum.mutants, seconds.count());
  // A suite that mutates nothing would pass.
  for (size_t kind = 0; kind < suite.mutations().size(); ++kind) {
    EXPECT_GT(suite.tallies()[kind].mutants, 0) << suite.mutations()[kind].name;
  }
  EXPECT_GT(sum.mutants, 200 * kMutantsPerKindAndProgram);
  EXPECT_GT(sum.confirmed, sum.mutants / 10);
  EXPECT_GT(sum.harmless, sum.mutants / 20);
  EXPECT_EQ(sum.survivors, 0);
}

}  // namespace
}  // namespace mkvm::isa
