#include "vm/sampling.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "isa/f24.h"
#include "ops/sampling.h"

namespace mkvm::vm {
namespace {

constexpr absl::string_view kNumbers = "sampling.numbers";
constexpr absl::string_view kInts = "sampling.ints";
constexpr absl::string_view kCounts = "token_counts";
constexpr absl::string_view kLogprobs = "logprobs";

absl::Status OutOfRange(absl::string_view name, double value,
                        absl::string_view range) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, ", not ", range));
}

const isa::Buffer* Find(const isa::Program& program, absl::string_view name) {
  const uint32_t id = isa::FindBuffer(program, name);
  return id == isa::kNoBuffer ? nullptr : &program.buffers[id];
}

absl::Status CheckProgramSamples(const isa::Program& program) {
  if (CanSample(program)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the program chooses the most probable token only; compile it with "
      "--sampling");
}

uint32_t VocabTokens(const isa::Program& program) {
  return static_cast<uint32_t>(Find(program, kCounts)->shape[0]);
}

}  // namespace

absl::Status CheckSampling(const SamplingOptions& o) {
  // Written so that a NaN fails, too.
  if (!(o.temperature >= 0 && std::isfinite(o.temperature))) {
    return OutOfRange("temperature", o.temperature, "0 or more");
  }
  if (o.top_k < 0) return OutOfRange("top_k", o.top_k, "0 or more");
  if (!(o.top_p > 0 && o.top_p <= 1)) {
    return OutOfRange("top_p", o.top_p, "in (0, 1]");
  }
  if (!(o.min_p >= 0 && o.min_p < 1)) {
    return OutOfRange("min_p", o.min_p, "in [0, 1)");
  }
  if (!(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty))) {
    return OutOfRange("repetition_penalty", o.repetition_penalty, "above 0");
  }
  if (!std::isfinite(o.presence_penalty)) {
    return OutOfRange("presence_penalty", o.presence_penalty, "a number");
  }
  if (!std::isfinite(o.frequency_penalty)) {
    return OutOfRange("frequency_penalty", o.frequency_penalty, "a number");
  }
  if (o.token_limit < 0) {
    return OutOfRange("token_limit", o.token_limit, "0 or more");
  }
  if (o.logprobs < -1) {
    return OutOfRange("logprobs", o.logprobs, "0 or more (-1: none)");
  }
  return absl::OkStatus();
}

bool CanSample(const isa::Program& program) {
  for (const absl::string_view name : {kNumbers, kInts, kCounts, kLogprobs}) {
    if (Find(program, name) == nullptr) return false;
  }
  return true;
}

int32_t MaxLogprobs(const isa::Program& program) {
  if (!CanSample(program)) return -1;
  return static_cast<int32_t>(Find(program, kLogprobs)->shape[1]) - 1;
}

absl::Status SetSampling(Machine& machine, const SamplingOptions& options) {
  const isa::Program& program = machine.program();
  if (absl::Status s = CheckSampling(options); !s.ok()) return s;
  if (absl::Status s = CheckProgramSamples(program); !s.ok()) return s;
  if (options.logprobs > MaxLogprobs(program)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the program records up to ", MaxLogprobs(program), " logprobs, not ",
        options.logprobs, "; compile it with --logprobs=", options.logprobs));
  }
  const auto vocab_tokens = static_cast<int32_t>(VocabTokens(program));
  float numbers[ops::kSamplingNumbers] = {};
  numbers[ops::kTemperature] = options.temperature;
  numbers[ops::kTopP] = options.top_p;
  numbers[ops::kMinP] = options.min_p;
  numbers[ops::kRepetitionPenalty] = options.repetition_penalty;
  numbers[ops::kPresencePenalty] = options.presence_penalty;
  numbers[ops::kFrequencyPenalty] = options.frequency_penalty;
  int32_t ints[ops::kSamplingInts] = {};
  // As many as there are is no limit.
  ints[ops::kTopK] = options.top_k < vocab_tokens ? options.top_k : 0;
  ints[ops::kSeedLow] = static_cast<int32_t>(options.seed);
  ints[ops::kSeedHigh] = static_cast<int32_t>(options.seed >> 32);
  ints[ops::kTokenLimit] =
      options.token_limit == 0 ? vocab_tokens : options.token_limit;
  ints[ops::kLogprobs] = options.logprobs;
  if (absl::Status s = machine.Bind(
          kNumbers, {isa::DType::kF32, {ops::kSamplingNumbers}, numbers});
      !s.ok()) {
    return s;
  }
  return machine.Bind(kInts, {isa::DType::kI32, {ops::kSamplingInts}, ints});
}

absl::Status SetTokenCounts(Machine& machine, absl::Span<const int32_t> prompt,
                            absl::Span<const int32_t> answer) {
  if (absl::Status s = CheckProgramSamples(machine.program()); !s.ok()) {
    return s;
  }
  std::vector<int32_t> counts(VocabTokens(machine.program()), 0);
  const auto check = [&counts](int32_t token) {
    return token >= 0 && static_cast<size_t>(token) < counts.size();
  };
  for (const absl::Span<const int32_t> tokens : {prompt, answer}) {
    for (const int32_t token : tokens) {
      if (check(token)) continue;
      return absl::OutOfRangeError(absl::StrCat(
          "token id ", token, " is outside the vocabulary of ", counts.size()));
    }
  }
  for (const int32_t token : prompt) counts[token] |= ops::kCountPrompt;
  for (const int32_t token : answer) counts[token] += ops::kCountGenerated;
  return machine.Bind(kCounts,
                      {isa::DType::kI32, {counts.size()}, counts.data()});
}

absl::StatusOr<std::vector<PositionLogprobs>> ReadLogprobs(Machine& machine,
                                                           int64_t begin,
                                                           int64_t end) {
  if (absl::Status s = CheckProgramSamples(machine.program()); !s.ok()) {
    return s;
  }
  const std::vector<uint64_t>& shape =
      Find(machine.program(), kLogprobs)->shape;
  if (begin < 0 || end < begin || static_cast<uint64_t>(end) > shape[0]) {
    return absl::OutOfRangeError(absl::StrCat("no logprobs of positions [",
                                              begin, ", ", end,
                                              "): the program has ", shape[0]));
  }
  std::vector<uint64_t> words(shape[0] * shape[1]);
  if (absl::Status s = machine.Read(
          kLogprobs, absl::MakeSpan(reinterpret_cast<char*>(words.data()),
                                    words.size() * sizeof(uint64_t)));
      !s.ok()) {
    return s;
  }
  const auto entry = [](uint64_t word) -> TokenLogprob {
    return {static_cast<int32_t>(isa::IndexOfRanked(word)),
            isa::ScoreOfRanked(word)};
  };
  std::vector<PositionLogprobs> positions;
  for (int64_t position = begin; position < end; ++position) {
    const uint64_t* record = &words[static_cast<uint64_t>(position) * shape[1]];
    PositionLogprobs logprobs;
    logprobs.chosen = entry(record[0]);
    for (uint64_t i = 1; i < shape[1]; ++i) {
      logprobs.top.push_back(entry(record[i]));
    }
    positions.push_back(std::move(logprobs));
  }
  return positions;
}

}  // namespace mkvm::vm
