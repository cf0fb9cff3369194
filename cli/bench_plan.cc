#include "cli/bench_plan.h"

#include <algorithm>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "model/config.h"

namespace mkvm::cli {
namespace {

absl::StatusOr<std::vector<int64_t>> ParseCounts(absl::string_view flag,
                                                 absl::string_view text) {
  std::vector<int64_t> counts;
  for (const absl::string_view piece : absl::StrSplit(text, ',')) {
    int32_t count;
    if (!absl::SimpleAtoi(piece, &count) || count < 0) {
      return UsageError(absl::StrCat(flag, ": \"", piece,
                                     "\" is not a whole number from 0 on"));
    }
    counts.push_back(count);
  }
  return counts;
}

absl::StatusOr<std::vector<BenchTest>> MakeTests(const BenchFlags& f) {
  const absl::StatusOr<std::vector<int64_t>> depths =
      ParseCounts("-d", f.depths);
  if (!depths.ok()) return depths.status();
  std::vector<BenchTest> tests;
  struct List {
    BenchKind kind;
    const char* flag;
    const std::string& text;
  };
  for (const List& list :
       {List{BenchKind::kPrompt, "-p", f.prompts},
        List{BenchKind::kGenerate, "-n", f.generated},
        List{BenchKind::kFirstToken, "--ttft", f.first_tokens}}) {
    const absl::StatusOr<std::vector<int64_t>> counts =
        ParseCounts(list.flag, list.text);
    if (!counts.ok()) return counts.status();
    for (const int64_t count : *counts) {
      if (count == 0) continue;
      if (list.kind == BenchKind::kFirstToken) {
        tests.push_back({list.kind, count, 0});
        continue;
      }
      for (const int64_t depth : *depths) {
        tests.push_back({list.kind, count, depth});
      }
    }
  }
  if (tests.empty()) {
    return UsageError("-p, -n and --ttft are all 0: nothing to measure");
  }
  return tests;
}

absl::StatusOr<std::vector<int>> ParseThreads(const BenchFlags& f,
                                              const Device& device) {
  if (device.gpu) {
    if (f.threads.empty()) return std::vector<int>{0};
    return UsageError("--threads is for the CPU machine; --device cpu");
  }
  if (f.threads.empty()) {
    const unsigned cores = std::thread::hardware_concurrency();
    return std::vector<int>{static_cast<int>(std::max(1u, cores))};
  }
  const absl::StatusOr<std::vector<int64_t>> counts =
      ParseCounts("--threads", f.threads);
  if (!counts.ok()) return counts.status();
  std::vector<int> threads;
  for (const int64_t count : *counts) {
    if (count == 0) return UsageError("--threads is not above 0");
    threads.push_back(static_cast<int>(count));
  }
  return threads;
}

// What is not compiled on the spot, or "".
std::string GivenProgram(const BenchFlags& f) {
  return f.interpretation ? "a program of nops" : f.program;
}

}  // namespace

Flags MakeBenchFlags(BenchFlags& f) {
  Flags flags(
      "bench [PROGRAM] [FLAGS]",
      "Measures a decode program: tokens/s, us/token, GB/s and their share of "
      "the\nread-only stream, measured before and after every row. A row is a "
      "test: ppP, a\nprompt of P tokens; tgN, N generated tokens; both from a "
      "depth D on, in one launch;\nttftP, the time from a prompt of P tokens "
      "to the next. A row whose tokens differ\nfrom launch to launch, "
      "or from those of a machine of another kind, is refused.\nLists are "
      "separated by commas. docs/benchmarking.md says more.");
  flags.Add("n_prompt,p", &f.prompts, "LIST", "prompt tokens; 0: none (512)");
  flags.Add("n_gen,n", &f.generated, "LIST", "tokens generated; 0: none (128)");
  flags.Add("n_depth,d", &f.depths, "LIST",
            "positions before them, as if they were in the KV cache (0)");
  flags.Add("ttft", &f.first_tokens, "LIST",
            "prompt tokens before a first token; 0: none (1,32,512)");
  flags.Add("repetitions,r", &f.repetitions, "N", "of every test (5)");
  flags.Add("output,o", &f.output, "md|csv|json", "form of the result (md)");
  flags.Add("model", &f.model, "DIR|synthetic:SEED", "as for run");
  flags.Add("config", &f.configs, "LIST",
            "geometries of synthetic weights (qwen3-0.6b on a GPU,\n"
            "qwen3-tiny on the CPU)");
  flags.Add("device", &f.device, "auto|cpu|cuda:K", "as for run");
  flags.Add("threads", &f.threads, "LIST", "of the CPU machine (one per core)");
  flags.Add("transport", &f.transports, "LIST",
            "tagged, counters or both (tagged)");
  flags.Add("no_warm_up", &f.no_warm_up,
            "time the first launch of a test like the others");
  f.ablations.AddTo(flags);
  flags.Add("ablate", &f.ablate, "LIST",
            "several of these, a setup each: none, no_prefetch,\n"
            "fetch_depth=N, launch_per_pass, launch_per_op, no_fuse,\n"
            "no_split_kv, no_attend_alone, nops, or some joined by +");
  flags.Add("roofline", &f.roofline,
            "measure the read-only stream, -r times, and nothing else");
  flags.Add("interpretation", &f.interpretation,
            "measure ns per instruction of programs of nops, and nothing\n"
            "else");
  return flags;
}

absl::Status CheckBenchFlags(const BenchFlags& f) {
  if (f.output != "md" && f.output != "csv" && f.output != "json") {
    return UsageError(
        absl::StrCat("-o: \"", f.output, "\" is not md, csv or json"));
  }
  if (f.repetitions && (*f.repetitions < 1 || *f.repetitions > 1000)) {
    return UsageError("-r is not in 1..1000");
  }
  if (!f.program.empty() && !f.configs.empty()) {
    return UsageError("--config: the program already says the geometry");
  }
  if (f.roofline && f.interpretation) {
    return UsageError("--roofline and --interpretation: one of them");
  }
  if (f.interpretation && !f.program.empty()) {
    return UsageError("--interpretation: it has its own programs");
  }
  if (absl::Status s = f.ablations.Check(GivenProgram(f)); !s.ok()) return s;
  if (!f.ablate.empty() && f.ablations.Name() != "none") {
    return UsageError(absl::StrCat("--ablate: ", f.ablations.Name(),
                                   " is given by itself, too"));
  }
  for (const absl::string_view transport : absl::StrSplit(f.transports, ',')) {
    if (transport != "tagged" && transport != "counters") {
      return UsageError(absl::StrCat("--transport: \"", transport,
                                     "\" is not tagged or counters"));
    }
  }
  return absl::OkStatus();
}

namespace {

absl::StatusOr<std::vector<AblationFlags>> ParseAblations(
    const BenchFlags& f, const Device& device) {
  std::vector<AblationFlags> all;
  if (f.ablate.empty()) all.push_back(f.ablations);
  for (const absl::string_view name :
       absl::StrSplit(f.ablate, ',', absl::SkipEmpty())) {
    absl::StatusOr<AblationFlags> ablations = ParseAblation(name, "--ablate");
    if (!ablations.ok()) return ablations.status();
    all.push_back(*std::move(ablations));
  }
  for (const AblationFlags& ablations : all) {
    if (absl::Status s = ablations.Check(GivenProgram(f)); !s.ok()) return s;
    Device unused = device;
    if (absl::Status s = ablations.ApplyTo(unused); !s.ok()) return s;
  }
  if (all.empty()) return UsageError("--ablate: nothing is named");
  return all;
}

}  // namespace

absl::StatusOr<BenchPlan> MakeBenchPlan(const BenchFlags& f,
                                        const Device& device) {
  BenchPlan plan;
  absl::StatusOr<std::vector<BenchTest>> tests = MakeTests(f);
  if (!tests.ok()) return tests.status();
  plan.tests = *std::move(tests);
  absl::StatusOr<std::vector<int>> threads = ParseThreads(f, device);
  if (!threads.ok()) return threads.status();
  plan.threads = *std::move(threads);
  plan.configs = absl::StrSplit(f.configs, ',');
  if (!f.configs.empty()) {
    // Now rather than after the rows of those before it.
    for (const std::string& config : plan.configs) {
      if (absl::Status s = model::FindConfig(config).status(); !s.ok()) {
        return s;
      }
    }
  }
  absl::StatusOr<std::vector<AblationFlags>> ablations =
      ParseAblations(f, device);
  if (!ablations.ok()) return ablations.status();
  plan.ablations = *std::move(ablations);
  plan.transports = absl::StrSplit(f.transports, ',');
  plan.repetitions = static_cast<int>(f.repetitions.value_or(5));
  plan.warm_up = !f.no_warm_up;
  return plan;
}

}  // namespace mkvm::cli
