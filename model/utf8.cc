#include "model/utf8.h"

#include <algorithm>
#include <cstring>

namespace mkvm::model {
namespace {

constexpr absl::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

uint8_t ByteAt(absl::string_view text, size_t i) {
  return static_cast<uint8_t>(text[i]);
}

// A row of Unicode's table 3-7: how long a character with this first byte is,
// and what its second byte may be. Size 0: no character begins so.
struct Lead {
  size_t size_bytes;
  uint8_t second_min;
  uint8_t second_max;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xc2) return {0, 0, 0};
  if (byte < 0xe0) return {2, 0x80, 0xbf};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};  // no surrogates
  if (byte < 0xf0) return {3, 0x80, 0xbf};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4, 0x80, 0xbf};
  if (byte == 0xf4) return {4, 0x80, 0x8f};  // up to U+10FFFF
  return {0, 0, 0};
}

// The number of ASCII bytes that `text` begins with, in steps of 8 at first.
size_t AsciiPrefix(absl::string_view text) {
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (at < text.size() && ByteAt(text, at) < 0x80) ++at;
  return at;
}

}  // namespace

Utf8Unit NextUtf8(absl::string_view text) {
  const Lead lead = LeadOf(ByteAt(text, 0));
  if (lead.size_bytes == 0) return {Utf8Unit::Kind::kInvalid, 1};
  for (size_t i = 1; i < lead.size_bytes; ++i) {
    if (i == text.size()) return {Utf8Unit::Kind::kIncomplete, i};
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xbf;
    const uint8_t byte = ByteAt(text, i);
    if (byte < min || byte > max) return {Utf8Unit::Kind::kInvalid, i};
  }
  return {Utf8Unit::Kind::kCharacter, lead.size_bytes};
}

size_t FindInvalidUtf8(absl::string_view text) {
  size_t at = 0;
  while (true) {
    at += AsciiPrefix(text.substr(at));
    if (at == text.size()) return at;
    const Utf8Unit unit = NextUtf8(text.substr(at));
    if (unit.kind != Utf8Unit::Kind::kCharacter) return at;
    at += unit.size_bytes;
  }
}

uint32_t DecodeUtf8(absl::string_view text, size_t* size_bytes) {
  const uint8_t first = ByteAt(text, 0);
  *size_bytes = LeadOf(first).size_bytes;
  if (*size_bytes == 1) return first;
  uint32_t code_point = first & (0x7fu >> *size_bytes);
  for (size_t i = 1; i < *size_bytes; ++i) {
    code_point = code_point << 6 | (ByteAt(text, i) & 0x3f);
  }
  return code_point;
}

void AppendUtf8(uint32_t code_point, std::string* out) {
  const auto put = [out](uint32_t byte) {
    out->push_back(static_cast<char>(byte));
  };
  if (code_point < 0x80) {
    put(code_point);
    return;
  }
  if (code_point < 0x800) {
    put(0xc0 | code_point >> 6);
  } else {
    if (code_point < 0x10000) {
      put(0xe0 | code_point >> 12);
    } else {
      put(0xf0 | code_point >> 18);
      put(0x80 | (code_point >> 12 & 0x3f));
    }
    put(0x80 | (code_point >> 6 & 0x3f));
  }
  put(0x80 | (code_point & 0x3f));
}

size_t AppendValidUtf8(absl::string_view bytes, bool is_end, std::string* out) {
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t valid = FindInvalidUtf8(bytes.substr(at));
    out->append(bytes.data() + at, valid);
    at += valid;
    if (at == bytes.size()) break;
    const Utf8Unit unit = NextUtf8(bytes.substr(at));
    if (unit.kind == Utf8Unit::Kind::kIncomplete && !is_end) break;
    out->append(kReplacement.data(), kReplacement.size());
    at += unit.size_bytes;
  }
  return at;
}

}  // namespace mkvm::model
