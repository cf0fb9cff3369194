// What `mkvm bench` is asked to measure.
#ifndef MKVM_CLI_BENCH_PLAN_H_
#define MKVM_CLI_BENCH_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/ablation_flags.h"
#include "cli/bench_measure.h"
#include "cli/device.h"
#include "cli/flags.h"

namespace mkvm::cli {

// As on the command line; lists are separated by commas.
struct BenchFlags {
  std::string program;
  std::string model;
  std::string configs;
  std::string prompts = "512";
  std::string generated = "128";
  std::string depths = "0";
  std::string first_tokens = "1,32,512";
  std::optional<int64_t> repetitions;
  std::string device = "auto";
  std::string threads;
  std::string transports = "tagged";
  bool no_warm_up = false;
  AblationFlags ablations;
  std::string ablate;
  bool roofline = false;
  bool interpretation = false;
  std::string output = "md";
};

Flags MakeBenchFlags(BenchFlags& f);

// Every config with every ablation with every transport with every number of
// threads is a setup; all of the tests are done with each.
struct BenchPlan {
  std::vector<std::string> configs;  // "": what OpenModel chooses
  std::vector<AblationFlags> ablations;
  std::vector<std::string> transports;
  std::vector<int> threads;  // 0 on a GPU
  std::vector<BenchTest> tests;
  int repetitions = 5;
  bool warm_up = true;

  // Of the machine as a whole, whose stream rows are held against.
  int max_threads() const {
    return *std::max_element(threads.begin(), threads.end());
  }
  // Positions that the tests need.
  int64_t positions() const {
    int64_t end = 1;
    for (const BenchTest& test : tests) {
      end = std::max(end, test.depth + test.tokens);
    }
    return end;
  }
};

// Usage errors naming the flag.
absl::Status CheckBenchFlags(const BenchFlags& f);
absl::StatusOr<BenchPlan> MakeBenchPlan(const BenchFlags& f,
                                        const Device& device);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_BENCH_PLAN_H_
