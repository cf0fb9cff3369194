#include "model/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/unicode_classes.h"
#include "model/utf8.h"

namespace mkvm::model {
namespace {

constexpr uint32_t kCodePoints = 0x110000;
constexpr auto kCompose =
    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

// What a code point is canonically made of: itself, or up to four others.
class Decomposition {
 public:
  explicit Decomposition(uint32_t code_point) {
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<int32_t>(code_point), parts_.data(),
                                parts_.size(), UTF8PROC_DECOMPOSE, &boundary);
    size_ = static_cast<size_t>(count);
  }

  int32_t* begin() { return parts_.data(); }
  int32_t* end() { return parts_.data() + size_; }
  size_t size() const { return size_; }

 private:
  std::array<int32_t, 8> parts_;
  size_t size_;
};

// NFC as of Unicode 9: what is new to it is inert.
//
// A code point is inert when NFC leaves it alone whatever is before it: it is
// its own composition, its combining class is 0, and it composes with nothing
// before it. So a text can be cut in front of any inert code point, and one of
// inert ones only is in NFC. utf8proc normalises character by character at a
// tenth of the speed at which this table passes over a text.
class InertTable {
 public:
  InertTable() {
    inert_.set();
    for (uint32_t c = 0; c < kCodePoints; ++c) AddCodePoint(c);
  }

  bool contains(uint32_t code_point) const { return inert_[code_point]; }

 private:
  void AddCodePoint(uint32_t c) {
    if ((c >= 0xd800 && c < 0xe000) || IsNewToNormalization(c)) return;
    if (utf8proc_get_property(static_cast<int32_t>(c))->combining_class != 0) {
      inert_.reset(c);
    }
    Decomposition parts(c);
    const auto code_point = static_cast<int32_t>(c);
    if (parts.size() == 1 && *parts.begin() == code_point) return;
    // What may follow in a composition is not inert. That misses nothing: a
    // pair that composes is what its composition decomposes to.
    for (const int32_t* part = parts.begin() + 1; part < parts.end(); ++part) {
      inert_.reset(static_cast<uint32_t>(*part));
    }
    const utf8proc_ssize_t composed = utf8proc_normalize_utf32(
        parts.begin(), static_cast<utf8proc_ssize_t>(parts.size()), kCompose);
    if (composed != 1 || *parts.begin() != code_point) inert_.reset(c);
  }

  std::bitset<kCodePoints> inert_;
};

const InertTable& Inert() {
  static const auto* table = new InertTable();
  return *table;
}

int CombiningClass(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

// Sorts each run of code points that combine by their class. utf8proc's own way
// takes time by the square of a run's length, and runs come from outside.
void SortMarks(std::vector<int32_t>& code_points) {
  const auto is_mark = [](int32_t c) { return CombiningClass(c) != 0; };
  auto begin = code_points.begin();
  while (begin != code_points.end()) {
    const auto first = std::find_if(begin, code_points.end(), is_mark);
    begin = std::find_if_not(first, code_points.end(), is_mark);
    std::stable_sort(first, begin, [](int32_t a, int32_t b) {
      return CombiningClass(a) < CombiningClass(b);
    });
  }
}

// Appends the NFC of `text`. REQUIRES: none of it is new to normalisation.
void AppendNfc(absl::string_view text, std::string* out) {
  std::vector<int32_t> code_points;
  while (!text.empty()) {
    size_t size_bytes;
    const uint32_t c = DecodeUtf8(text, &size_bytes);
    text.remove_prefix(size_bytes);
    Decomposition parts(c);
    code_points.insert(code_points.end(), parts.begin(), parts.end());
  }
  SortMarks(code_points);
  const utf8proc_ssize_t count = utf8proc_normalize_utf32(
      code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()),
      kCompose);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    AppendUtf8(static_cast<uint32_t>(code_points[i]), out);
  }
}

// The next code point that is not inert, from `at` on.
struct Place {
  size_t at;    // text.size() where there is none
  size_t base;  // the code point before it where it may compose; else `at`
};

Place FindUninert(absl::string_view text, size_t at) {
  const InertTable& inert = Inert();
  size_t previous = at;
  while (at < text.size()) {
    size_t size_bytes = 1;
    if (static_cast<uint8_t>(text[at]) >= 0x80 &&
        !inert.contains(DecodeUtf8(text.substr(at), &size_bytes))) {
      size_t unused;
      const uint32_t base = DecodeUtf8(text.substr(previous), &unused);
      return {at, IsNewToNormalization(base) ? at : previous};
    }
    previous = at;
    at += size_bytes;
  }
  return {at, at};
}

// The first inert code point from `at` on.
size_t FindInert(absl::string_view text, size_t at) {
  const InertTable& inert = Inert();
  while (at < text.size()) {
    size_t size_bytes;
    if (inert.contains(DecodeUtf8(text.substr(at), &size_bytes))) break;
    at += size_bytes;
  }
  return at;
}

}  // namespace

absl::string_view ToNfc(absl::string_view text, std::string* storage) {
  Place place = FindUninert(text, 0);
  if (place.at == text.size()) return text;
  storage->clear();
  storage->reserve(text.size());
  size_t copied = 0;
  while (place.at < text.size()) {
    storage->append(text.data() + copied, place.base - copied);
    const size_t end = FindInert(text, place.at);
    AppendNfc(text.substr(place.base, end - place.base), storage);
    copied = end;
    place = FindUninert(text, end);
  }
  storage->append(text.data() + copied, text.size() - copied);
  return *storage;
}

}  // namespace mkvm::model
