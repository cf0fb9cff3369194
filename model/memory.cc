#include "model/memory.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace mkvm::model {
namespace {

// Files under /proc and /sys report a size of 0, so they are read by stdio.
std::string ReadKernelFile(const std::string& path) {
  std::string text;
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return text;
  char piece[4096];
  size_t got;
  while ((got = std::fread(piece, 1, sizeof(piece), file)) > 0) {
    text.append(piece, got);
  }
  std::fclose(file);
  return text;
}

// The number after `key` at the start of a line, e.g. "MemAvailable:   12 kB".
std::optional<uint64_t> Field(absl::string_view text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, key)) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    uint64_t value;
    if (!words.empty() && absl::SimpleAtoi(words[0], &value)) return value;
  }
  return std::nullopt;
}

// The number that a file holds; none for "max" or no file.
std::optional<uint64_t> Number(const std::string& path) {
  uint64_t value;
  if (!absl::SimpleAtoi(ReadKernelFile(path), &value)) return std::nullopt;
  return value;
}

// What a group leaves: its limit, less what it uses, the page cache that can be
// dropped counted as free.
uint64_t RoomInGroup(const std::string& limit, const std::string& usage,
                     const std::string& stat, absl::string_view cache_key) {
  const std::optional<uint64_t> max = Number(limit);
  const std::optional<uint64_t> used = Number(usage);
  if (!max.has_value() || !used.has_value()) return UINT64_MAX;
  const uint64_t cache = Field(ReadKernelFile(stat), cache_key).value_or(0);
  const uint64_t held = *used - std::min(*used, cache);
  return *max - std::min(*max, held);
}

// "/a/b" from the line "0::/a/b" or "5:memory:/a/b" of /proc/self/cgroup.
std::optional<std::string> GroupPath(absl::string_view text,
                                     absl::string_view controller) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    for (const absl::string_view name : absl::StrSplit(parts[1], ',')) {
      if (name == controller) return std::string(parts[2]);
    }
  }
  return std::nullopt;
}

}  // namespace

uint64_t AvailableMemoryBytes(const std::string& root) {
  uint64_t available = UINT64_MAX;
  const std::string meminfo = ReadKernelFile(root + "/proc/meminfo");
  if (const std::optional<uint64_t> kib = Field(meminfo, "MemAvailable:")) {
    available = *kib * 1024;
  }
  const std::string groups = ReadKernelFile(root + "/proc/self/cgroup");
  // A limit of any group on the way up holds. Inside a container the path may
  // not exist, but the group's own files then lie at the mount's root.
  if (std::optional<std::string> path = GroupPath(groups, "")) {
    for (;;) {
      const std::string at = absl::StrCat(root, "/sys/fs/cgroup", *path, "/");
      available = std::min(available,
                           RoomInGroup(at + "memory.max", at + "memory.current",
                                       at + "memory.stat", "inactive_file "));
      if (path->empty()) break;
      path->resize(std::min(path->size() - 1, path->rfind('/')));
    }
  }
  if (std::optional<std::string> path = GroupPath(groups, "memory")) {
    for (const std::string& group : {*path, std::string()}) {
      const std::string at =
          absl::StrCat(root, "/sys/fs/cgroup/memory", group, "/");
      available = std::min(
          available, RoomInGroup(at + "memory.limit_in_bytes",
                                 at + "memory.usage_in_bytes",
                                 at + "memory.stat", "total_inactive_file "));
    }
  }
  return available;
}

absl::Status CheckMemory(uint64_t needed_bytes, uint64_t available_bytes,
                         absl::string_view what, absl::string_view mend) {
  if (needed_bytes <= available_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "%s needs %s of memory, %s are free: %s", what, FormatBytes(needed_bytes),
      FormatBytes(available_bytes), mend));
}

std::string FormatBytes(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  const char* const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would print as 1024.0.
  while (value >= 1023.95 && unit + 1 < 6) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, units[unit]);
}

}  // namespace mkvm::model
