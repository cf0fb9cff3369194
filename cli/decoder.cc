#include "cli/decoder.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/progress.h"
#include "isa/verifier.h"
#include "vm/profiler_range.h"
#include "vm/sampling.h"

namespace mkvm::cli {
namespace {

constexpr absl::string_view kRopeBuffer = "rope.cos_sin";

absl::Status Annotate(absl::string_view where, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(where, ": ", status.message()));
}

vm::HostTensor TensorOf(const model::Tensor& tensor) {
  return {tensor.type == model::TensorType::kBf16 ? isa::DType::kBf16
                                                  : isa::DType::kF32,
          tensor.shape, tensor.data};
}

uint64_t BytesOf(const isa::Buffer& buffer) {
  return isa::NumElements(buffer) * isa::SizeOf(buffer.dtype);
}

// Splits "name=file".
absl::StatusOr<std::pair<std::string, std::string>> SplitBinding(
    const std::string& binding, absl::string_view flag) {
  std::pair<std::string, std::string> parts =
      absl::StrSplit(binding, absl::MaxSplits('=', 1));
  if (parts.first.empty() || parts.second.empty()) {
    return UsageError(
        absl::StrCat(flag, ": \"", binding, "\" is not BUFFER=FILE.npy"));
  }
  return parts;
}

// Every weight and input must have a source.
absl::Status CheckSources(const isa::Program& program,
                          const std::vector<std::string>& names) {
  absl::flat_hash_set<std::string> sources(names.begin(), names.end());
  for (const char* name :
       {"rope.cos_sin", "run", "eos", "sampling.numbers", "sampling.ints"}) {
    sources.insert(name);
  }
  for (const isa::Buffer& buffer : program.buffers) {
    const bool needs_source = buffer.kind == isa::BufferKind::kWeight ||
                              buffer.kind == isa::BufferKind::kInput;
    if (needs_source && !sources.contains(buffer.name)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the program needs ", isa::Name(buffer.kind), " \"",
                       buffer.name, "\", which the model does not have"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool IsDecodeProgram(const isa::Program& program) {
  for (const char* name : {"tokens", "run", "eos"}) {
    if (isa::FindBuffer(program, name) == isa::kNoBuffer) return false;
  }
  return program.model_fingerprint != 0;
}

int64_t MaxContextTokens(const isa::Program& program) {
  const uint32_t tokens = isa::FindBuffer(program, "tokens");
  return static_cast<int64_t>(isa::NumElements(program.buffers[tokens])) - 1;
}

absl::Status CheckProgram(const isa::Program& program, absl::string_view path) {
  absl::Status status = isa::VerifyStatus(program);
  if (status.ok()) return status;
  return Annotate(absl::StrCat(path, " does not verify"), status);
}

absl::StatusOr<isa::Program> WithTransport(isa::Program program,
                                           absl::string_view transport) {
  if (transport == "tagged") return program;
  if (transport == "counters") {
    return isa::WithCountersOnly(std::move(program));
  }
  return UsageError(absl::StrCat("--transport: \"", transport,
                                 "\" is not tagged or counters"));
}

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Create(
    const Device& device, isa::Program program,
    std::unique_ptr<model::Weights> weights, int threads) {
  // Before memory is taken for it.
  if (absl::Status s = CheckSources(program, weights->names()); !s.ok()) {
    return s;
  }
  absl::StatusOr<std::unique_ptr<vm::Machine>> machine =
      CreateMachine(device, std::move(program), threads);
  if (!machine.ok()) return machine.status();
  return Create(*std::move(machine), std::move(weights));
}

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Create(
    std::unique_ptr<vm::Machine> machine,
    std::unique_ptr<model::Weights> weights) {
  if (absl::Status s = CheckSources(machine->program(), weights->names());
      !s.ok()) {
    return s;
  }
  std::unique_ptr<Decoder> decoder(new Decoder());
  decoder->weights_ = std::move(weights);
  decoder->machine_ = std::move(machine);
  if (absl::Status s = decoder->BindWeights(); !s.ok()) return s;
  return decoder;
}

absl::Status Decoder::BindWeights() {
  const vm::ProfilerRange range("load weights");
  const isa::Program& program = machine_->program();
  Progress progress("loading weights", weights_->total_bytes());
  for (const std::string& name : weights_->names()) {
    const uint32_t buffer = isa::FindBuffer(program, name);
    if (buffer == isa::kNoBuffer) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the program does not use tensor \"", name, "\" of the model"));
    }
    absl::StatusOr<model::Tensor> tensor = weights_->Get(name);
    if (!tensor.ok()) return Annotate(name, tensor.status());
    if (absl::Status s = machine_->Bind(name, TensorOf(*tensor)); !s.ok()) {
      return s;
    }
    progress.Advance(BytesOf(program.buffers[buffer]));
  }
  progress.Done();
  if (vm::CanSample(program)) {
    // The most probable tokens, until somebody asks for others.
    if (absl::Status s = vm::SetSampling(*machine_, {.temperature = 0});
        !s.ok()) {
      return s;
    }
  }
  const uint32_t rope = isa::FindBuffer(program, kRopeBuffer);
  if (rope == isa::kNoBuffer) return absl::OkStatus();
  const std::vector<uint64_t>& shape = program.buffers[rope].shape;
  rope_ = model::RopeTable(weights_->config(), shape[0]);
  return machine_->Bind(kRopeBuffer,
                        {isa::DType::kF32,
                         {rope_.size() / config().head_dim, config().head_dim},
                         rope_.data()});
}

absl::Status Decoder::Override(const std::vector<std::string>& bindings) {
  for (const std::string& binding : bindings) {
    if (absl::Status s = BindFile(*machine_, binding, overrides_); !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

absl::Status Decoder::BindIds(absl::string_view buffer,
                              const std::vector<int32_t>& ids) {
  return machine_->Bind(buffer, {isa::DType::kI32, {ids.size()}, ids.data()});
}

absl::Status Decoder::SetTokens(absl::Span<const int32_t> ids,
                                int64_t prompt_tokens, int64_t end_position,
                                absl::Span<const int32_t> eos) {
  const isa::Program& program = machine_->program();
  const int64_t max_context = MaxContextTokens(program);
  if (static_cast<int64_t>(ids.size()) > max_context) {
    return absl::OutOfRangeError(
        absl::StrFormat("%d tokens do not fit the program's %d positions; "
                        "compile it with a larger --max_context",
                        ids.size(), max_context));
  }
  for (int32_t id : ids) {
    if (id < 0 || static_cast<uint32_t>(id) >= config().vocab_size) {
      return absl::OutOfRangeError(
          absl::StrFormat("token id %d is outside the vocabulary of %d", id,
                          config().vocab_size));
    }
  }
  std::vector<int32_t> tokens(max_context + 1, 0);
  std::copy(ids.begin(), ids.end(), tokens.begin());
  if (absl::Status s = BindIds("tokens", tokens); !s.ok()) return s;

  const uint32_t eos_buffer = isa::FindBuffer(program, "eos");
  std::vector<int32_t> ends(isa::NumElements(program.buffers[eos_buffer]), -1);
  if (eos.size() > ends.size()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the model has %d end-of-text ids, the program room "
                        "for %d; use --ignore_eos",
                        eos.size(), ends.size()));
  }
  std::copy(eos.begin(), eos.end(), ends.begin());
  if (absl::Status s = BindIds("eos", ends); !s.ok()) return s;
  return BindIds("run", {static_cast<int32_t>(prompt_tokens),
                         static_cast<int32_t>(end_position)});
}

absl::Status BindFile(vm::Machine& machine, const std::string& binding,
                      std::vector<NpyArray>& arrays) {
  absl::StatusOr<std::pair<std::string, std::string>> parts =
      SplitBinding(binding, "--bind");
  if (!parts.ok()) return parts.status();
  absl::StatusOr<NpyArray> array = ReadNpyFile(parts->second);
  if (!array.ok()) return array.status();
  arrays.push_back(*std::move(array));
  const NpyArray& kept = arrays.back();
  absl::Status status =
      machine.Bind(parts->first, {kept.dtype, kept.shape, kept.data.data()});
  return status.ok() ? status : Annotate(parts->second, status);
}

absl::Status DumpFile(vm::Machine& machine, const std::string& binding) {
  absl::StatusOr<std::pair<std::string, std::string>> parts =
      SplitBinding(binding, "--dump");
  if (!parts.ok()) return parts.status();
  const uint32_t id = isa::FindBuffer(machine.program(), parts->first);
  if (id == isa::kNoBuffer) {
    return absl::NotFoundError(absl::StrCat(
        "--dump: the program has no buffer \"", parts->first, "\""));
  }
  const isa::Buffer& buffer = machine.program().buffers[id];
  std::vector<char> bytes(BytesOf(buffer));
  if (absl::Status s = machine.Read(buffer.name, absl::MakeSpan(bytes));
      !s.ok()) {
    return s;
  }
  return WriteFile(parts->second, ToNpy(buffer.dtype, buffer.shape, bytes));
}

}  // namespace mkvm::cli
