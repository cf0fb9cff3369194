#include "cli/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace mkvm::cli {
namespace {

// How much of the end of `text` could be the beginning of `stop`.
size_t HeldBack(absl::string_view text, absl::string_view stop) {
  for (size_t size = std::min(text.size(), stop.size() - 1); size > 0; --size) {
    if (absl::EndsWith(text, stop.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

std::string StopMatcher::Push(absl::string_view piece) {
  if (stopped()) return "";
  std::string text = std::exchange(held_back_, "");
  text.append(piece.data(), piece.size());
  size_t first = std::string::npos;
  size_t held_back = 0;
  for (const std::string& stop : stops_) {
    const size_t at = text.find(stop);
    if (at < first) {
      first = at;
      match_ = stop;
    }
    held_back = std::max(held_back, HeldBack(text, stop));
  }
  if (stopped()) {
    text.resize(first);
    return text;
  }
  held_back_ = text.substr(text.size() - held_back);
  text.resize(text.size() - held_back);
  return text;
}

std::string StopMatcher::Finish() { return std::exchange(held_back_, ""); }

}  // namespace mkvm::cli
