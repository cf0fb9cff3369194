#include "cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_format.h"

namespace mkvm::cli {

Progress::Progress(absl::string_view what, uint64_t total_bytes)
    : what_(what),
      total_bytes_(std::max<uint64_t>(1, total_bytes)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      drawn_(start_) {}

void Progress::Advance(uint64_t bytes) {
  done_bytes_ += bytes;
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - drawn_ < std::chrono::milliseconds(50)) return;
  drawn_ = now;
  Draw();
}

void Progress::Draw() {
  constexpr int kWidth = 30;
  const double share =
      std::min(1.0, static_cast<double>(done_bytes_) / total_bytes_);
  const int full = static_cast<int>(share * kWidth);
  absl::FPrintF(stderr, "\r%s [%s%s] %3.0f%%", what_, std::string(full, '#'),
                std::string(kWidth - full, ' '), share * 100);
  std::fflush(stderr);
}

void Progress::Done() {
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - start_;
  // "\r" and "\033[K" wipe the bar.
  absl::FPrintF(stderr, "%s%s: %.1f MB in %.1f s\n",
                terminal_ ? "\r\033[K" : "", what_, done_bytes_ / 1e6,
                took.count());
}

}  // namespace mkvm::cli
