#include "cli/thought_view.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace mkvm::cli {
namespace {

constexpr absl::string_view kBegin = "<think>";
constexpr absl::string_view kEnd = "</think>";
constexpr absl::string_view kDim = "\033[2m";
constexpr absl::string_view kPlain = "\033[0m";
constexpr absl::string_view kEraseLine = "\r\033[K";

// How much of the end of `text` could be the beginning of `tag`.
size_t PartOfTag(absl::string_view text, absl::string_view tag) {
  for (size_t size = std::min(text.size(), tag.size() - 1); size > 0; --size) {
    if (absl::EndsWith(text, tag.substr(0, size))) return size;
  }
  return 0;
}

}  // namespace

absl::StatusOr<ThoughtMode> ParseThoughtMode(absl::string_view name) {
  if (name == "show") return ThoughtMode::kShow;
  if (name == "dim") return ThoughtMode::kDim;
  if (name == "hide") return ThoughtMode::kHide;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name, "\" is not show, dim or hide"));
}

ThoughtView::ThoughtView(ThoughtMode mode, bool terminal,
                         std::function<void(absl::string_view)> out)
    : mode_(mode == ThoughtMode::kDim && !terminal ? ThoughtMode::kShow : mode),
      terminal_(terminal),
      out_(std::move(out)) {}

void ThoughtView::Push(absl::string_view piece) {
  if (mode_ == ThoughtMode::kShow) {
    Show(piece);
    return;
  }
  std::string text = std::exchange(held_back_, "");
  text.append(piece.data(), piece.size());
  absl::string_view rest = text;
  while (true) {
    const absl::string_view tag = thinking_ ? kEnd : kBegin;
    const size_t at = rest.find(tag);
    if (at == absl::string_view::npos) {
      const size_t held_back = PartOfTag(rest, tag);
      Show(rest.substr(0, rest.size() - held_back));
      held_back_ = std::string(rest.substr(rest.size() - held_back));
      return;
    }
    Show(rest.substr(0, at));
    thinking_ ? Leave() : Enter();
    rest.remove_prefix(at + tag.size());
  }
}

void ThoughtView::Finish() {
  Show(std::exchange(held_back_, ""));
  if (!thinking_) return;
  thinking_ = false;
  if (terminal_) out_(mode_ == ThoughtMode::kDim ? kPlain : kEraseLine);
}

void ThoughtView::Show(absl::string_view text) {
  if (thinking_ && mode_ == ThoughtMode::kHide) return;
  if (at_start_) {
    while (!text.empty() && text[0] == '\n') text.remove_prefix(1);
    at_start_ = text.empty();
  }
  if (!text.empty()) out_(text);
}

void ThoughtView::Enter() {
  thinking_ = true;
  if (mode_ == ThoughtMode::kDim) {
    out_(absl::StrCat(kDim, kBegin));
  } else if (terminal_) {
    out_(absl::StrCat(kDim, "thinking ...", kPlain));
  }
}

void ThoughtView::Leave() {
  thinking_ = false;
  if (mode_ == ThoughtMode::kDim) {
    out_(absl::StrCat(kEnd, kPlain));
    return;
  }
  if (terminal_) out_(kEraseLine);
  at_start_ = true;
}

std::string CloseThought(std::string text) {
  const absl::string_view view = text;
  const size_t begin = view.rfind(kBegin);
  if (begin == absl::string_view::npos ||
      view.find(kEnd, begin) != absl::string_view::npos) {
    return text;
  }
  return absl::StrCat(text, "\n", kEnd, "\n\n");
}

}  // namespace mkvm::cli
