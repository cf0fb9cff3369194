// How much memory this process may still take, and a clear refusal before the
// kernel's.
#ifndef MKVM_MODEL_MEMORY_H_
#define MKVM_MODEL_MEMORY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace mkvm::model {

// Bytes that can be allocated without swapping: the kernel's MemAvailable, or
// less where the process's cgroup (v2 or v1) is held to less. UINT64_MAX where
// the system says nothing. `root` stands for "/" in tests.
uint64_t AvailableMemoryBytes(const std::string& root = "");

// OK, or ResourceExhausted "WHAT needs 15.3 GiB of memory, 3.1 GiB are free:
// MEND" where fewer than `needed_bytes` are available.
absl::Status CheckMemory(uint64_t needed_bytes, uint64_t available_bytes,
                         absl::string_view what, absl::string_view mend);

// "512 B", "3.1 MiB", "15.3 GiB".
std::string FormatBytes(uint64_t bytes);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_MEMORY_H_
