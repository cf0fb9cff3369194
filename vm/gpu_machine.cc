#include "vm/gpu_machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "isa/check_program.h"
#include "isa/opcode_table.h"
#include "vm/bind.h"
#include "vm/copy_pace.h"
#include "vm/cuda_memory.h"
#include "vm/decode.h"
#include "vm/fault_status.h"
#include "vm/gpu_launcher.h"
#include "vm/gpu_memory.h"
#include "vm/gpu_trace.h"
#include "vm/launch.h"
#include "vm/profiler_range.h"
#include "vm/run_checks.h"

namespace mkvm::vm {
namespace {

// Compute capabilities below this lack mbarrier and cp.async.
constexpr int kMinMajor = 8;

class GpuMachine : public Machine {
 public:
  GpuMachine(isa::Program program, GpuInfo info,
             const GpuMachineOptions& options)
      : program_(std::move(program)),
        info_(std::move(info)),
        options_(options) {}
  ~GpuMachine() override {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  absl::Status Init();

  absl::Status Bind(absl::string_view buffer,
                    const HostTensor& tensor) override;
  absl::Status Read(absl::string_view buffer, absl::Span<char> out) override;
  absl::StatusOr<RunResult> Run(const RunOptions& options) override;
  const isa::Program& program() const override { return program_; }
  std::string description() const override { return Describe(num_stages_); }

 private:
  std::string Describe(uint32_t stages) const {
    return absl::StrFormat("%s (%d SMs, %d workers, %d stages)", info_.name,
                           info_.multiprocessors, program_.num_workers(),
                           stages);
  }
  absl::Status CheckOps() const;
  absl::Status UploadCode();
  absl::Status GrowRing(uint64_t passes);
  absl::Status Clear(uint64_t passes);
  LaunchArguments Arguments(const RunOptions& options) const;
  // The fault in terms of a counter: a tagged wait's counter is ticked too.
  Fault RefineFault() const;
  // Delivers the ring's words from `next` on that are there; stops after the
  // last.
  void Deliver(const RunOptions& options, uint64_t& next) const;

  isa::Program program_;
  const GpuInfo info_;
  const GpuMachineOptions options_;
  uint32_t num_stages_ = 0;
  uint32_t traced_stages_ = 0;  // of the traced kernel: not more than those
  uint32_t copy_interval_cycles_ = 0;
  cudaStream_t stream_ = nullptr;
  GpuMemory memory_;
  GpuLauncher launcher_;
  std::vector<bool> bound_;
  DevicePointer<ops::DecodedInstruction> code_;
  DevicePointer<QueueRange> queues_;
  DevicePointer<uint32_t> producers_;
  DevicePointer<uint32_t> counters_;  // then the abort flag
  PinnedPointer<Fault> fault_;
  PinnedPointer<uint64_t> passes_;
  PinnedPointer<uint64_t> ring_;
  uint64_t ring_passes_ = 0;
};

// Limits of the device bodies that the ISA doesn't state.
absl::Status GpuMachine::CheckOps() const {
  for (uint32_t w = 0; w < program_.num_workers(); ++w) {
    for (uint32_t pc = 0; pc < program_.queues[w].size(); ++pc) {
      const isa::Instruction& instruction = program_.queues[w][pc];
      const auto opcode = static_cast<isa::Opcode>(instruction.opcode);
      if (opcode == isa::Opcode::kGemv) {
        const auto op = isa::DecodeOperands<isa::GemvOperands>(instruction);
        if (program_.buffers[op.w].layout != isa::Layout::kPanels) {
          return absl::FailedPreconditionError(absl::StrFormat(
              "worker %d, pc %d: weight %s is stored in rows, which the GPU "
              "machine doesn't stream; compile for a GPU target",
              w, pc, program_.buffers[op.w].name));
        }
      }
      if (opcode == isa::Opcode::kAttention) {
        const auto op =
            isa::DecodeOperands<isa::AttentionOperands>(instruction);
        if (uint64_t{op.group} * op.head_dim > kMaxGroupElements) {
          return absl::FailedPreconditionError(absl::StrFormat(
              "worker %d, pc %d: group * head_dim is %d; the GPU machine holds "
              "%d",
              w, pc, op.group * op.head_dim, kMaxGroupElements));
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status GpuMachine::UploadCode() {
  copy_interval_cycles_ = CopyIntervalCycles(info_, program_, traced_stages_);
  std::vector<uint32_t> producers;
  for (const isa::Counter& counter : program_.counters) {
    producers.push_back(counter.producers);
  }
  producers.push_back(0);  // so that no allocation is empty
  auto upload = [](auto& to, const auto& from) -> absl::Status {
    using T = typename std::decay_t<decltype(from)>::value_type;
    absl::StatusOr<DevicePointer<T>> memory =
        AllocateDevice<T>(from.size(), "program");
    if (!memory.ok()) return memory.status();
    to = *std::move(memory);
    return CudaStatus(cudaMemcpy(to.get(), from.data(), from.size() * sizeof(T),
                                 cudaMemcpyHostToDevice),
                      "uploading the program");
  };
  // For both kernels, so that both compute the same.
  const std::vector<ops::DecodedInstruction> code =
      DecodeQueues(program_, memory_.buffers(), traced_stages_);
  absl::Status status = upload(code_, code);
  if (status.ok()) status = upload(queues_, QueueRangesOf(program_, code));
  if (status.ok()) status = upload(producers_, producers);
  if (!status.ok()) return status;
  absl::StatusOr<DevicePointer<uint32_t>> counters = AllocateDevice<uint32_t>(
      (program_.counters.size() + 1) * kCounterStride, "counters");
  if (!counters.ok()) return counters.status();
  counters_ = *std::move(counters);
  return absl::OkStatus();
}

absl::Status GpuMachine::Init() {
  absl::Status status = isa::CheckRunnable(program_);
  if (status.ok()) status = CheckOps();
  if (!status.ok()) return status;
  num_stages_ = std::min(program_.target.stages,
                         StagesThatFit(info_.shared_memory_bytes));
  traced_stages_ =
      std::min(num_stages_, TracedStagesThatFit(info_.shared_memory_bytes));
  if (traced_stages_ < 2) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s has %d bytes of shared memory per block, too few for two stages",
        info_.name, info_.shared_memory_bytes));
  }
  KernelLimits limits;
  status =
      CudaStatus(QueryKernelLimits(num_stages_, info_.multiprocessors, limits),
                 "preparing the interpreter (was mkvm built for this GPU?)");
  if (!status.ok()) return status;
  if (program_.num_workers() > limits.workers) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the program has %d workers, %s holds %d at once; compile with "
        "--target auto, or with --workers %d",
        program_.num_workers(), info_.name, limits.workers, limits.workers));
  }
  status =
      CudaStatus(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                 "creating a stream");
  if (!status.ok()) return status;
  absl::StatusOr<GpuMemory> memory = GpuMemory::Create(program_);
  if (!memory.ok()) return memory.status();
  memory_ = *std::move(memory);
  bound_.assign(program_.buffers.size(), false);
  absl::StatusOr<PinnedPointer<Fault>> fault =
      AllocatePinned<Fault>(1, "fault record");
  if (!fault.ok()) return fault.status();
  fault_ = *std::move(fault);
  absl::StatusOr<PinnedPointer<uint64_t>> passes =
      AllocatePinned<uint64_t>(1, "pass count");
  if (!passes.ok()) return passes.status();
  passes_ = *std::move(passes);
  absl::StatusOr<GpuLauncher> launcher =
      GpuLauncher::Create(program_, options_.ablations);
  if (!launcher.ok()) return launcher.status();
  launcher_ = *std::move(launcher);
  return UploadCode();
}

absl::Status GpuMachine::Bind(absl::string_view buffer,
                              const HostTensor& tensor) {
  absl::StatusOr<uint32_t> id = FindBindable(program_, buffer, tensor);
  if (!id.ok()) return id.status();
  absl::Status status = memory_.Upload(program_, *id, tensor);
  if (status.ok()) bound_[*id] = true;
  return status;
}

absl::Status GpuMachine::Read(absl::string_view buffer, absl::Span<char> out) {
  absl::StatusOr<uint32_t> id = FindReadable(program_, buffer, out.size());
  if (!id.ok()) return id.status();
  absl::Status status = memory_.FinishUploads();
  if (!status.ok()) return status;
  return memory_.Download(program_, *id, out);
}

absl::Status GpuMachine::GrowRing(uint64_t passes) {
  if (passes <= ring_passes_) return absl::OkStatus();
  absl::StatusOr<PinnedPointer<uint64_t>> ring =
      AllocatePinned<uint64_t>(passes, "token ring");
  if (!ring.ok()) return ring.status();
  ring_ = *std::move(ring);
  ring_passes_ = passes;
  return absl::OkStatus();
}

absl::Status GpuMachine::Clear(uint64_t passes) {
  std::memset(ring_.get(), 0, passes * sizeof(uint64_t));
  std::memset(fault_.get(), 0, sizeof(Fault));
  *passes_ = 0;
  absl::Status status = memory_.ClearActivations(stream_);
  if (!status.ok()) return status;
  return CudaStatus(cudaMemsetAsync(counters_.get(), 0,
                                    (program_.counters.size() + 1) *
                                        kCounterStride * sizeof(uint32_t),
                                    stream_),
                    "clearing counters");
}

void GpuMachine::Deliver(const RunOptions& options, uint64_t& next) const {
  const auto passes = static_cast<uint64_t>(options.max_passes);
  while (next < passes) {
    const uint64_t word = LoadMapped(ring_.get() + next);
    if (word == 0) return;
    const bool generated = (word & 1) != 0;
    if (generated && options.on_token) {
      options.on_token(options.first_position + static_cast<int64_t>(next) + 1,
                       static_cast<int32_t>(word >> 32));
    }
    ++next;
  }
}

Fault GpuMachine::RefineFault() const {
  Fault fault = *fault_;
  if (fault.kind != FaultKind::kTagTimeout) return fault;
  const isa::Instruction& instruction = program_.queues[fault.worker][fault.pc];
  for (int i = 0; i < instruction.num_waits; ++i) {
    const isa::Wait& wait = instruction.waits[i];
    const uint32_t lag = instruction.WaitIsLagged(i) ? 1 : 0;
    if (fault.pass < lag) continue;
    const uint32_t wanted =
        (fault.pass - lag) * program_.counters[wait.counter].producers +
        wait.threshold;
    uint32_t seen = 0;
    if (cudaMemcpy(&seen,
                   counters_.get() + uint64_t{wait.counter} * kCounterStride,
                   sizeof(seen), cudaMemcpyDeviceToHost) != cudaSuccess) {
      return fault;
    }
    if (seen < wanted) {
      fault.kind = FaultKind::kCounterTimeout;
      fault.what = wait.counter;
      fault.seen = seen;
      fault.wanted = wanted;
      return fault;
    }
  }
  return fault;
}

LaunchArguments GpuMachine::Arguments(const RunOptions& options) const {
  return {
      .code = code_.get(),
      .queues = queues_.get(),
      .counters = counters_.get(),
      .producers = producers_.get(),
      .abort = counters_.get() + program_.counters.size() * kCounterStride,
      .num_stages = num_stages_,
      .copy_interval_cycles = copy_interval_cycles_,
      .max_passes = static_cast<uint32_t>(options.max_passes),
      .first_position = options.first_position,
      .watchdog_ns = static_cast<uint64_t>(options.watchdog_seconds * 1e9),
      .fault = fault_.get(),
      .token_ring = ring_.get(),
      .passes = passes_.get(),
      .trace = {},
  };
}

absl::StatusOr<RunResult> GpuMachine::Run(const RunOptions& options) {
  absl::Status status = CheckRunOptions(options);
  if (status.ok()) status = CheckAllBound(program_, bound_);
  if (!status.ok()) return status;
  if (options.max_passes == 0) return RunResult{};
  const auto passes = static_cast<uint64_t>(options.max_passes);
  status = CudaStatus(cudaSetDevice(options_.device), "selecting the GPU");
  if (status.ok()) status = memory_.FinishUploads();
  if (status.ok()) status = GrowRing(passes);
  if (status.ok()) status = Clear(passes);
  if (!status.ok()) return status;
  LaunchArguments arguments = Arguments(options);
  std::optional<GpuTrace> trace;
  if (options.trace.has_value()) {
    absl::StatusOr<GpuTrace> created =
        GpuTrace::Create(program_, *options.trace, options.max_passes);
    if (!created.ok()) return created.status();
    trace = *std::move(created);
    arguments.trace = trace->arguments();
    arguments.num_stages = traced_stages_;
  }
  status = launcher_.Prepare(arguments, trace.has_value(), stream_);
  if (!status.ok()) return status;
  status = CudaStatus(cudaStreamSynchronize(stream_), "before the launch");
  if (!status.ok()) return status;
  const ProfilerRange range("decode");
  const auto begin = std::chrono::steady_clock::now();
  uint64_t next = 0;
  status = launcher_.Run(stream_, [&] { Deliver(options, next); });
  if (!status.ok()) return status;
  const std::chrono::duration<double> elapsed =
      std::chrono::steady_clock::now() - begin;
  Deliver(options, next);
  if (fault_->kind != FaultKind::kNone) {
    return FaultStatus(program_, RefineFault());
  }
  RunResult result = {.passes = static_cast<int64_t>(*passes_),
                      .seconds = elapsed.count(),
                      .trace = std::nullopt};
  if (!trace) return result;
  absl::StatusOr<trace::Trace> recorded =
      trace->Collect(program_, options.first_position);
  if (!recorded.ok()) return recorded.status();
  result.trace = *std::move(recorded);
  CompleteTrace(*this, options, *result.trace);
  result.trace->machine = Describe(traced_stages_);
  return result;
}

}  // namespace

absl::StatusOr<GpuInfo> QueryGpu(int device) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    return absl::UnavailableError(
        "the NVIDIA driver is missing or older than this mkvm's CUDA; install "
        "a newer driver, or use --device cpu");
  }
  if (error != cudaSuccess || count == 0) {
    return absl::UnavailableError(absl::StrCat(
        "no usable GPU (", cudaGetErrorString(error), "); use --device cpu"));
  }
  if (device < 0 || device >= count) {
    return absl::UnavailableError(absl::StrFormat(
        "there is no GPU %d; this machine has %d (cuda:0 to cuda:%d)", device,
        count, count - 1));
  }
  cudaDeviceProp properties;
  const absl::Status status =
      CudaStatus(cudaGetDeviceProperties(&properties, device), "GPU query");
  if (!status.ok()) return absl::UnavailableError(status.message());
  if (properties.major < kMinMajor) {
    return absl::UnavailableError(absl::StrFormat(
        "%s has compute capability %d.%d; mkvm needs %d.0", properties.name,
        properties.major, properties.minor, kMinMajor));
  }
  char pci_bus_id[32] = "";  // left empty when it fails: it names, no more
  cudaDeviceGetPCIBusId(pci_bus_id, sizeof(pci_bus_id), device);
  // Twice a clock, all bits of the bus. Unknown ones stay 0.
  int memory_khz = 0, bus_bits = 0, clock_khz = 0;
  cudaDeviceGetAttribute(&memory_khz, cudaDevAttrMemoryClockRate, device);
  cudaDeviceGetAttribute(&bus_bits, cudaDevAttrGlobalMemoryBusWidth, device);
  cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, device);
  return GpuInfo{.name = properties.name,
                 .compute_major = properties.major,
                 .compute_minor = properties.minor,
                 .multiprocessors = properties.multiProcessorCount,
                 .memory_bytes = properties.totalGlobalMem,
                 .shared_memory_bytes = properties.sharedMemPerBlockOptin,
                 .memory_bytes_per_s = 2e3 * memory_khz * bus_bits / 8,
                 .clock_hz = 1e3 * clock_khz,
                 .pci_bus_id = pci_bus_id};
}

absl::StatusOr<std::unique_ptr<Machine>> CreateGpuMachine(
    isa::Program program, const GpuMachineOptions& options) {
  absl::StatusOr<GpuInfo> info = QueryGpu(options.device);
  if (!info.ok()) return info.status();
  absl::Status status =
      CudaStatus(cudaSetDevice(options.device), "selecting the GPU");
  if (!status.ok()) return status;
  auto machine = std::make_unique<GpuMachine>(std::move(program),
                                              *std::move(info), options);
  status = machine->Init();
  if (!status.ok()) return status;
  return machine;
}

}  // namespace mkvm::vm
