#include "model/unicode_classes.h"

#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace mkvm::model {
namespace {

// What Unicode 15 and 16 added to 14, as ranges of a character class.
constexpr char kNewLetters[] =
    R"(\x{1C89}-\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3})"
    R"(\x{10D4A}-\x{10D65}\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4})"
    R"(\x{1123F}-\x{11240}\x{11380}-\x{11389}\x{1138B}\x{1138E})"
    R"(\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0})"
    R"(\x{11F02}\x{11F04}-\x{11F10}\x{11F12}-\x{11F33}\x{1342F})"
    R"(\x{13441}-\x{13446}\x{13460}-\x{143FA}\x{16100}-\x{1611D})"
    R"(\x{16D40}-\x{16D6C}\x{18CFF}\x{1B132}\x{1B155}\x{1DF25}-\x{1DF2A})"
    R"(\x{1E030}-\x{1E06D}\x{1E4D0}-\x{1E4EB}\x{1E5D0}-\x{1E5ED}\x{1E5F0})"
    R"(\x{2B739}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})";
constexpr char kNewNumbers[] =
    R"(\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9})"
    R"(\x{11F50}-\x{11F59}\x{16130}-\x{16139}\x{16D70}-\x{16D79})"
    R"(\x{1CCF0}-\x{1CCF9}\x{1D2C0}-\x{1D2D3}\x{1E4F0}-\x{1E4F9})"
    R"(\x{1E5F1}-\x{1E5FA})";
// White_Space.
constexpr char kSpaces[] =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029})"
    R"(\x{202F}\x{205F}\x{3000})";

// A class that stands for itself, and the members to put in its place.
struct Class {
  absl::string_view name;
  std::string members;
  bool is_negated = false;
};

const Class* FindClass(absl::string_view text) {
  static const auto* const classes = new Class[4]{
      {"\\p{L}", absl::StrCat("\\p{L}", kNewLetters)},
      {"\\p{N}", absl::StrCat("\\p{N}", kNewNumbers)},
      {"\\s", kSpaces},
      {"\\S", kSpaces, true},
  };
  for (size_t i = 0; i < 4; ++i) {
    if (absl::StartsWith(text, classes[i].name)) return &classes[i];
  }
  return nullptr;
}

struct Range {
  uint32_t first;
  uint32_t last;
};

// Marks and parts of compositions that Unicode 10 to 16 added. A range holds
// no older character that takes part in normalisation.
constexpr Range kNewToNormalization[] = {
    {0x07FD, 0x07FD},   {0x0897, 0x08D3},   {0x09FE, 0x09FE},
    {0x0AFA, 0x0AFF},   {0x0B55, 0x0B55},   {0x0C04, 0x0C3C},
    {0x0CF3, 0x0D3C},   {0x0D81, 0x0D81},   {0x0EBA, 0x0EBA},
    {0x0ECE, 0x0ECE},   {0x1715, 0x1715},   {0x180F, 0x180F},
    {0x1ABF, 0x1ACE},   {0x1CF7, 0x1CF7},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0xA8FF, 0xA8FF},   {0x105C9, 0x105E4},
    {0x10D24, 0x10F85}, {0x11070, 0x11074}, {0x110C2, 0x110C2},
    {0x11145, 0x11146}, {0x111CE, 0x111CF}, {0x11241, 0x11241},
    {0x1133B, 0x1133B}, {0x11382, 0x113E2}, {0x1145E, 0x1145E},
    {0x1182C, 0x11A99}, {0x11D31, 0x1612F}, {0x16D63, 0x16FF1},
    {0x1CF00, 0x1CF46}, {0x1E08F, 0x1E5EF},
};

}  // namespace

std::string WithUnicode16Classes(absl::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size();) {
    size_t taken = 1;
    if (pattern[i] == '\\') {
      const Class* c = FindClass(pattern.substr(i));
      // \S within a class would have to be taken away from it: left alone.
      if (c != nullptr && !(in_class && c->is_negated)) {
        absl::StrAppend(&out,
                        in_class        ? ""
                        : c->is_negated ? "[^"
                                        : "[",
                        c->members, in_class ? "" : "]");
        i += c->name.size();
        continue;
      }
      taken = 2;
    } else if (!in_class && pattern[i] == '[') {
      in_class = true;
      // A bracket that comes first is a member.
      if (absl::StartsWith(pattern.substr(i + taken), "^")) ++taken;
      if (absl::StartsWith(pattern.substr(i + taken), "]")) ++taken;
    } else if (in_class && absl::StartsWith(pattern.substr(i), "[:")) {
      const size_t end = pattern.find(":]", i + 2);
      if (end != absl::string_view::npos) taken = end + 2 - i;
    } else if (in_class && pattern[i] == ']') {
      in_class = false;
    }
    absl::StrAppend(&out, pattern.substr(i, taken));
    i += taken;
  }
  return out;
}

bool IsNewToNormalization(uint32_t code_point) {
  for (const Range& range : kNewToNormalization) {
    if (code_point <= range.last) return code_point >= range.first;
  }
  return false;
}

}  // namespace mkvm::model
