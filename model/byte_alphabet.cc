#include "model/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "model/utf8.h"

namespace mkvm::model {
namespace {

// The last character of the alphabet is byte 0xad's, U+0143.
constexpr size_t kCodePoints = 0x144;
constexpr int16_t kNoByte = -1;

struct Alphabet {
  std::array<uint16_t, 256> code_point_of;
  std::array<int16_t, kCodePoints> byte_of;
};

// GPT-2's: what is printable in Latin-1 stands for itself, and the other bytes,
// in ascending order, for the code points from U+0100 on.
constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet = {};
  for (int16_t& byte : alphabet.byte_of) byte = kNoByte;
  uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') ||
                           (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const uint16_t code_point =
        printable ? static_cast<uint16_t>(byte) : next++;
    alphabet.code_point_of[byte] = code_point;
    alphabet.byte_of[code_point] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();
static_assert(kAlphabet.code_point_of[0xad] == kCodePoints - 1);

}  // namespace

std::optional<std::string> AlphabetToBytes(absl::string_view text) {
  if (FindInvalidUtf8(text) != text.size()) return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    size_t size_bytes;
    const uint32_t code_point = DecodeUtf8(text, &size_bytes);
    if (code_point >= kCodePoints || kAlphabet.byte_of[code_point] == kNoByte) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<char>(kAlphabet.byte_of[code_point]));
    text.remove_prefix(size_bytes);
  }
  return bytes;
}

std::string BytesToAlphabet(absl::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    AppendUtf8(kAlphabet.code_point_of[static_cast<uint8_t>(byte)], &text);
  }
  return text;
}

}  // namespace mkvm::model
