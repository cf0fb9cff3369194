// Statistics of a program, for `mkvm info`.
#ifndef MKVM_SCHEDULER_INFO_H_
#define MKVM_SCHEDULER_INFO_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "isa/program.h"
#include "scheduler/cost_model.h"
#include "scheduler/target.h"

namespace mkvm::scheduler {

struct Prediction {
  uint64_t position = 0;
  uint64_t kv_bytes = 0;  // read in that pass
  double us = 0;          // per token
  double tokens_per_s = 0;
  double stream_us = 0;  // the floor: all bytes at the target's rate
};

struct ProgramInfo {
  std::string name;
  std::string model;
  std::string target;
  uint32_t workers = 0;
  uint64_t instructions = 0;
  std::map<std::string, uint64_t> instructions_by_opcode;
  uint64_t counters = 0;
  uint64_t waits = 0;
  uint64_t tagged_waits = 0;
  uint64_t releases = 0;  // signals that pay for a fence
  // Bytes of the buffers of each kind, as bound (without padding).
  std::map<std::string, uint64_t> buffer_bytes;
  uint64_t streamed_bytes = 0;  // weights, per pass
  uint64_t min_worker_bytes = 0;
  uint64_t max_worker_bytes = 0;
  double balance = 1;   // max / mean bytes of a worker
  bool cyclic = false;  // can't run: waits form a cycle
  // With a target only.
  bool has_prediction = false;
  CriticalPath critical_path;
  std::vector<Prediction> predictions;  // positions that the program holds
};

// REQUIRES: valid fields (isa/verifier.h); the order of waits may be anything.
ProgramInfo AnalyzeProgram(const isa::Program& program,
                           const Target* target_or_null);

std::string InfoText(const ProgramInfo& info);
std::string InfoText(const isa::Program& program, const Target* target_or_null);
std::string InfoJson(const ProgramInfo& info);

}  // namespace mkvm::scheduler

#endif  // MKVM_SCHEDULER_INFO_H_
