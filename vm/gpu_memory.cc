#include "vm/gpu_memory.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "ops/activation_layout.h"
#include "ops/kv_layout.h"
#include "ops/panel.h"
#include "vm/bind.h"
#include "vm/launch.h"

namespace mkvm::vm {
namespace {

constexpr uint64_t kAlignment = 256;
// One half of the staging memory. Large enough for full PCIe speed, small
// enough that packing one half hides behind copying the other.
constexpr uint64_t kStagingBytes = 32 << 20;
// Of it one thread converts so much at least.
constexpr uint64_t kStepBytes = 1 << 20;
constexpr int kMostThreads = 8;
constexpr char kLoading[] = "loading weights";

bool IsPacked(const isa::Buffer& buffer) {
  return buffer.layout == isa::Layout::kPanels && buffer.shape.size() == 2;
}

uint64_t StoredElements(const isa::Buffer& buffer, DeviceLayout layout) {
  const uint64_t elements = isa::NumElements(buffer);
  if (layout == DeviceLayout::kSpread) return ops::ActivationWords(elements);
  return IsPacked(buffer)
             ? ops::PackedElements(buffer.shape[0], buffer.shape[1])
             : elements;
}

// Padded: vector loads of the last elements stay inside.
uint64_t StoredBytes(const isa::Buffer& buffer, DeviceLayout layout) {
  const uint64_t bytes =
      StoredElements(buffer, layout) * isa::SizeOf(buffer.dtype);
  return (bytes + 2 * kAlignment - 1) / kAlignment * kAlignment;
}

absl::Status CheckFits(uint64_t bytes) {
  size_t free_bytes = 0, total_bytes = 0;
  const absl::Status status = CudaStatus(
      cudaMemGetInfo(&free_bytes, &total_bytes), "asking for free memory");
  if (!status.ok()) return status;
  const uint64_t needed = bytes + 2 * kStagingBytes + (64 << 20);
  if (needed <= free_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the program needs %.2f GB of GPU memory, %.2f GB of %.2f GB are free; "
      "compile with a smaller --max_context or use a smaller model",
      needed * 1e-9, free_bytes * 1e-9, total_bytes * 1e-9));
}

}  // namespace

absl::StatusOr<GpuMemory> GpuMemory::Create(const isa::Program& program) {
  GpuMemory memory;
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  memory.threads_ =
      std::make_unique<HostThreads>(std::clamp(cores, 1, kMostThreads));
  absl::StatusOr<std::vector<DeviceLayout>> layouts = LayoutsOf(program);
  if (!layouts.ok()) return layouts.status();
  memory.layouts_ = *std::move(layouts);
  std::vector<uint64_t> offsets(program.buffers.size());
  // Activations first, so that one memset clears them.
  for (const bool activations : {true, false}) {
    for (size_t i = 0; i < program.buffers.size(); ++i) {
      const isa::Buffer& buffer = program.buffers[i];
      const bool is_activation = buffer.kind == isa::BufferKind::kActivation;
      if (is_activation != activations) continue;
      offsets[i] = memory.bytes_;
      memory.bytes_ += StoredBytes(buffer, memory.layouts_[i]);
    }
    if (activations) memory.activation_bytes_ = memory.bytes_;
  }
  absl::Status status = CheckFits(memory.bytes_);
  if (!status.ok()) return status;
  absl::StatusOr<DevicePointer<char>> arena =
      AllocateDevice<char>(std::max<uint64_t>(memory.bytes_, 1), "buffers");
  if (!arena.ok()) return arena.status();
  memory.arena_ = *std::move(arena);
  status = CudaStatus(cudaMemset(memory.arena_.get(), 0, memory.bytes_),
                      "clearing buffers");
  if (!status.ok()) return status;
  for (size_t i = 0; i < program.buffers.size(); ++i) {
    const isa::Buffer& buffer = program.buffers[i];
    ops::DeviceBuffer entry = {};
    entry.data = memory.arena_.get() + offsets[i];
    entry.is_panels = IsPacked(buffer);
    entry.is_f24 = buffer.dtype == isa::DType::kF24;
    std::copy_n(buffer.shape.begin(), std::min<size_t>(buffer.shape.size(), 4),
                entry.shape);
    memory.buffers_.push_back(entry);
  }
  absl::StatusOr<PinnedPointer<char>> pinned =
      AllocatePinned<char>(2 * kStagingBytes, "staging memory");
  if (!pinned.ok()) return pinned.status();
  memory.pinned_ = *std::move(pinned);
  absl::StatusOr<DevicePointer<char>> staging =
      AllocateDevice<char>(2 * kStagingBytes, "staging memory");
  if (!staging.ok()) return staging.status();
  memory.staging_ = *std::move(staging);
  for (EventPointer& packed : memory.packed_) {
    absl::StatusOr<EventPointer> event = CreateEvent("staging memory");
    if (!event.ok()) return event.status();
    packed = *std::move(event);
  }
  return memory;
}

absl::Status GpuMemory::Upload(const isa::Program& program, uint32_t id,
                               const HostTensor& tensor) {
  if (layouts_[id] != DeviceLayout::kSpread) {
    return UploadRows(program, id, tensor);
  }
  std::vector<uint32_t> words(isa::NumElements(program.buffers[id]));
  ConvertElements(tensor, isa::DType::kF24, 0, words.size(), words.data());
  const std::vector<uint32_t> spread = SpreadWords(words);
  return CudaStatus(
      cudaMemcpy(buffers_[id].data, spread.data(),
                 spread.size() * sizeof(uint32_t), cudaMemcpyHostToDevice),
      kLoading);
}

absl::Status GpuMemory::UploadRows(const isa::Program& program, uint32_t id,
                                   const HostTensor& tensor) {
  const isa::Buffer& buffer = program.buffers[id];
  const ops::DeviceBuffer& to = buffers_[id];
  const bool packed = IsPacked(buffer);
  const bool permuted = layouts_[id] == DeviceLayout::kPermuted;
  const uint64_t element_bytes = isa::SizeOf(buffer.dtype);
  const uint64_t columns = packed || permuted ? buffer.shape.back() : 1;
  const uint64_t rows = isa::NumElements(buffer) / columns;
  const uint64_t row_bytes = columns * element_bytes;
  uint64_t rows_at_once = kStagingBytes / row_bytes;
  if (packed) rows_at_once -= rows_at_once % isa::kPanelRows;
  if (rows_at_once == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "buffer %s has rows of %d bytes; panels take up to %d", buffer.name,
        row_bytes, kStagingBytes / isa::kPanelRows));
  }
  const uint64_t rows_per_step = std::max<uint64_t>(1, kStepBytes / row_bytes);
  absl::Status status;
  for (uint64_t row = 0; row < rows; row += rows_at_once, half_ ^= 1) {
    const uint64_t count = std::min(rows_at_once, rows - row);
    char* const host = pinned_.get() + half_ * kStagingBytes;
    char* const device = staging_.get() + half_ * kStagingBytes;
    // The other half may be on its way meanwhile.
    status = CudaStatus(cudaEventSynchronize(packed_[half_].get()), kLoading);
    if (!status.ok()) return status;
    threads_->Split(count, rows_per_step, [&](uint64_t begin, uint64_t end) {
      char* const to_rows = host + begin * row_bytes;
      ConvertElements(tensor, buffer.dtype, (row + begin) * columns,
                      (end - begin) * columns, to_rows);
      if (permuted) {
        PermuteRows(to_rows, row + begin, end - begin, buffer.shape[1]);
      }
    });
    char* const target =
        packed ? device : static_cast<char*>(to.data) + row * row_bytes;
    status = CudaStatus(cudaMemcpyAsync(target, host, count * row_bytes,
                                        cudaMemcpyHostToDevice, nullptr),
                        kLoading);
    if (!status.ok()) return status;
    if (packed) {
      status = CudaStatus(
          LaunchPack(reinterpret_cast<const uint16_t*>(device), row, count,
                     columns, static_cast<uint16_t*>(to.data), nullptr),
          "packing weights");
      if (!status.ok()) return status;
    }
    status =
        CudaStatus(cudaEventRecord(packed_[half_].get(), nullptr), kLoading);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status GpuMemory::FinishUploads() {
  return CudaStatus(cudaStreamSynchronize(nullptr), kLoading);
}

absl::Status GpuMemory::Read(uint32_t id, void* out, uint64_t bytes) const {
  return CudaStatus(
      cudaMemcpy(out, buffers_[id].data, bytes, cudaMemcpyDeviceToHost),
      "reading a buffer");
}

absl::Status GpuMemory::Download(const isa::Program& program, uint32_t id,
                                 absl::Span<char> out) {
  const isa::Buffer& buffer = program.buffers[id];
  const uint64_t element_bytes = isa::SizeOf(buffer.dtype);
  if (IsPacked(buffer)) {
    std::vector<uint16_t> stored(StoredElements(buffer, layouts_[id]));
    const absl::Status status =
        Read(id, stored.data(), stored.size() * sizeof(uint16_t));
    if (!status.ok()) return status;
    const uint64_t columns = buffer.shape[1];
    for (uint64_t i = 0; i < isa::NumElements(buffer); ++i) {
      const uint16_t value =
          stored[ops::PackedIndex(i / columns, i % columns, columns)];
      std::memcpy(out.data() + i * sizeof(value), &value, sizeof(value));
    }
    return absl::OkStatus();
  }
  const uint64_t bytes = isa::NumElements(buffer) * element_bytes;
  if (layouts_[id] == DeviceLayout::kSpread) {
    std::vector<uint32_t> spread(StoredElements(buffer, layouts_[id]));
    const absl::Status status =
        Read(id, spread.data(), spread.size() * sizeof(uint32_t));
    if (!status.ok()) return status;
    std::vector<uint32_t> words(isa::NumElements(buffer));
    GatherWords(spread, absl::MakeSpan(words));
    std::memcpy(out.data(), words.data(), bytes);
  } else {
    const absl::Status status = Read(id, out.data(), bytes);
    if (!status.ok()) return status;
  }
  if (layouts_[id] == DeviceLayout::kPermuted) {
    PermuteRows(out.data(), 0, bytes / (ops::kPermutedHeadDim * element_bytes),
                buffer.shape[1]);
  }
  // The tag is the low byte of an f24 word, byte 4 of a ranked word.
  const bool is_f24 = buffer.dtype == isa::DType::kF24;
  const bool is_ranked = buffer.dtype == isa::DType::kRanked;
  if (is_f24 || is_ranked) {
    for (uint64_t i = is_f24 ? 0 : 4; i < bytes; i += element_bytes) {
      out[i] = 0;
    }
  }
  return absl::OkStatus();
}

absl::Status GpuMemory::ClearActivations(cudaStream_t stream) {
  return CudaStatus(cudaMemsetAsync(arena_.get(), 0, activation_bytes_, stream),
                    "clearing activations");
}

}  // namespace mkvm::vm
